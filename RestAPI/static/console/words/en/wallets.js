// The list of wallets, and one wallet.
export default {};
