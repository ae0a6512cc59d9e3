"""What a wallet is: the rules of money and their storage. Knows neither HTTP nor the broker."""
