// Live and the ledger.
export default {};
