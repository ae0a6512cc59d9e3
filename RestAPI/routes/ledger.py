"""The ledger as a whole."""

from __future__ import annotations

from RestAPI.caller import Caller
from RestAPI.endpoint import endpoint
from RestAPI.schemas.ledger import TrialBalance
from WalletCore.domain.model import Document


class LedgerRoutes:
    """The endpoints under ``/ledger``."""

    @endpoint(tag="Ledger", responses={200: TrialBalance})
    def trial_balance(self, caller: Caller) -> Document:
        """Read the trial balance

        Per currency: what came in, what went out and what the wallets hold. The difference is zero.
        """
        return caller.store.trial_balance()
