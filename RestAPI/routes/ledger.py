"""The ledger as a whole."""

from __future__ import annotations

from RestAPI.endpoint import endpoint
from RestAPI.schemas.ledger import TrialBalance
from WalletCore.domain.model import Document
from WalletCore.store import Store


class LedgerRoutes:
    """The endpoints under ``/ledger``."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @endpoint(tag="Ledger", responses={200: TrialBalance})
    def trial_balance(self) -> Document:
        """Read the trial balance

        Per currency: what came in, what went out and what the wallets hold. The difference is zero.
        """
        return self._store.trial_balance()
