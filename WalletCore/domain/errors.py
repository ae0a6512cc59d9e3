"""Everything that Coffer can answer instead of a result.

The tree::

    CofferError
      Invalid                     422  the request can never be right as it is written
        AmountInvalid             422  amount_invalid
          AmountTooPrecise        422  amount_too_precise
          AmountOutOfRange        422  amount_out_of_range
        CurrencyUnknown           422  currency_unknown
        SameWallet                422  same_wallet
        CursorInvalid             422  cursor_invalid
        NotStorable               422  not_storable
      NotFound                    404
        WalletNotFound            404  wallet_not_found
        OperationNotFound         404  operation_not_found
        TransferNotFound          404  transfer_not_found
        HoldNotFound              404  hold_not_found
        EventNotFound             404  event_not_found
        NotificationNotFound      404  notification_not_found
        KeyNotFound               404  key_not_found
      NotAllowed                  403  not_allowed (by the caller's key)
      Refused                          decided under the lock, remembered under the key
        InsufficientFunds         400  insufficient_funds
        LimitExceeded             400  limit_exceeded
        CurrencyMismatch          400  currency_mismatch
        HoldExceeded              400  hold_exceeded
        ReversalExceeded          400  reversal_exceeded
        WalletFrozen              409  wallet_frozen
        WalletClosed              409  wallet_closed
        WalletNotEmpty            409  wallet_not_empty
        HoldAlreadyResolved       409  hold_already_resolved
        NotReversible             409  not_reversible
        EventStatusFixed          409  event_status_fixed
      IdempotencyKeyReused        409  idempotency_key_reused
      Unavailable                 503  unavailable (nothing was changed; retry)
        Overloaded                503  overloaded
          TooManyStreams          503  too_many_streams
          ProfileRunning          503  profile_running
        WalletBusy                503  wallet_busy
        OutcomeUnknown            503  outcome_unknown (a retry under the same key tells)

An error carries ``code`` (stable, for programs), ``status`` (HTTP), ``title`` (the same for every
occurrence) and ``detail`` (this occurrence, and what to do). ``problem()`` gives the RFC 9457
document, so that a remembered refusal is answered with the same bytes later.
"""

from __future__ import annotations

from typing import Any, ClassVar

RETRY_AFTER_SECONDS = 1
"""What ``Retry-After`` says on every 503 without ``retry_after_seconds``: a full queue empties in
less."""


class CofferError(Exception):
    """The root of the tree. ``extra`` are further members of the problem document."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Something failed on our side"

    def __init__(self, detail: str, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra = extra

    def problem(self) -> dict[str, Any]:
        """The RFC 9457 members: type, title, status, code, detail and the extra ones."""
        return {
            "type": f"urn:coffer:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            **self.extra,
        }


class Invalid(CofferError):
    """The request can never be right as it is written. ``errors``: list of ``{where, what}``."""

    status = 422
    code = "validation_failed"
    title = "The request is not valid"


class AmountInvalid(Invalid):
    """An amount that is not a positive decimal number."""

    code = "amount_invalid"
    title = "The amount is not valid"


class AmountTooPrecise(AmountInvalid):
    """An amount with more decimals than its currency has."""

    code = "amount_too_precise"
    title = "The amount has too many decimals"


class AmountOutOfRange(AmountInvalid):
    """An amount beyond 10^18 minor units."""

    code = "amount_out_of_range"
    title = "The amount is out of range"


class CurrencyUnknown(Invalid):
    """A currency that is neither in ISO 4217 nor among the deployment's own."""

    code = "currency_unknown"
    title = "The currency is not known"


class SameWallet(Invalid):
    """A transfer from a wallet to itself."""

    code = "same_wallet"
    title = "Source and target are the same wallet"


class CursorInvalid(Invalid):
    """A cursor that this service did not hand out."""

    code = "cursor_invalid"
    title = "The cursor is not valid"


class NotStorable(Invalid):
    """The database refused the data of this one request. Nothing was changed."""

    code = "not_storable"
    title = "The request cannot be stored"


class NotFound(CofferError):
    """There is nothing under this id."""

    status = 404
    code = "not_found"
    title = "Not found"


class WalletNotFound(NotFound):
    """There is no wallet with this id."""

    code = "wallet_not_found"
    title = "There is no such wallet"


class OperationNotFound(NotFound):
    """There is no operation with this id."""

    code = "operation_not_found"
    title = "There is no such operation"


class TransferNotFound(NotFound):
    """There is no transfer with this id."""

    code = "transfer_not_found"
    title = "There is no such transfer"


class HoldNotFound(NotFound):
    """There is no hold with this id."""

    code = "hold_not_found"
    title = "There is no such hold"


class EventNotFound(NotFound):
    """There is no event with this id."""

    code = "event_not_found"
    title = "There is no such event"


class NotificationNotFound(NotFound):
    """There is no notification with this id."""

    code = "notification_not_found"
    title = "There is no such notification"


class KeyNotFound(NotFound):
    """No API key has this id."""

    code = "key_not_found"
    title = "There is no such key"


class Refused(CofferError):
    """Decided under the wallet's lock against the request; remembered under its key."""

    status = 400
    code = "refused"
    title = "Refused"


class InsufficientFunds(Refused):
    """The available balance would fall below the wallet's ``min_balance``."""

    code = "insufficient_funds"
    title = "Not enough money is available"


class LimitExceeded(Refused):
    """A balance would pass one of its bounds; ``limit`` names the bound."""

    code = "limit_exceeded"
    title = "A limit would be exceeded"


class CurrencyMismatch(Refused):
    """Money does not move between wallets of different currencies: Coffer knows no rates."""

    code = "currency_mismatch"
    title = "The wallets are in different currencies"


class HoldExceeded(Refused):
    """More was to be captured than the hold still keeps back; ``remaining`` says how much."""

    code = "hold_exceeded"
    title = "The hold keeps less than that"


class ReversalExceeded(Refused):
    """More was to be reversed than is left of the operation; ``remaining`` says how much."""

    code = "reversal_exceeded"
    title = "Less than that is left to reverse"


class WalletFrozen(Refused):
    """The wallet is frozen: no money moves until it is active again."""

    status = 409
    code = "wallet_frozen"
    title = "The wallet is frozen"


class WalletClosed(Refused):
    """The wallet is closed for good."""

    status = 409
    code = "wallet_closed"
    title = "The wallet is closed"


class WalletNotEmpty(Refused):
    """Only a wallet with balance and holds of zero can be closed."""

    status = 409
    code = "wallet_not_empty"
    title = "The wallet is not empty"


class HoldAlreadyResolved(Refused):
    """The hold was captured, voided or is expired: that happens once."""

    status = 409
    code = "hold_already_resolved"
    title = "The hold is resolved already"


class NotReversible(Refused):
    """A reversal cannot be reversed, nor what was reversed in full."""

    status = 409
    code = "not_reversible"
    title = "The operation cannot be reversed"


class EventStatusFixed(Refused):
    """The status of what happened to a wallet is for the worker's record alone to decide."""

    status = 409
    code = "event_status_fixed"
    title = "The status of this event cannot be set"


class IdempotencyKeyReused(CofferError):
    """The key was used before, with another request."""

    status = 409
    code = "idempotency_key_reused"
    title = "The Idempotency-Key belongs to another request"


class NotAllowed(CofferError):
    """The caller is known, and its key does not allow this."""

    status = 403
    code = "not_allowed"
    title = "The key does not allow this"


class Unavailable(CofferError):
    """Something that Coffer needs is away. Nothing was changed by this request; retry it."""

    status = 503
    code = "unavailable"
    title = "The service is not available right now"


class Overloaded(Unavailable):
    """More waits than can be done in time. This request was not done; retry it."""

    code = "overloaded"
    title = "The service is overloaded"


class TooManyStreams(Overloaded):
    """The process serves as many streams as it may. Poll instead, or try again later."""

    code = "too_many_streams"
    title = "There are too many streams"


class ProfileRunning(Overloaded):
    """The process makes a profile already; `Retry-After` says when that one ends."""

    code = "profile_running"
    title = "A profile is being made already"


class WalletBusy(Unavailable):
    """Somebody else holds the wallet's lock for too long. This request was not done; retry it."""

    code = "wallet_busy"
    title = "The wallet is locked by something else"


class OutcomeUnknown(Unavailable):
    """The connection broke during COMMIT: retry with the same Idempotency-Key to find out."""

    code = "outcome_unknown"
    title = "It is not known whether the request was done"
