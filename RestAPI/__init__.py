"""The HTTP service: wallets, operations, the ledger and the event log over HTTP."""
