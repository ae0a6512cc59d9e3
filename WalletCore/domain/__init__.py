"""The rules of the ledger: pure Python, standard library only, no input or output, no clock."""
