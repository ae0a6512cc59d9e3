"""Recording without a broker: the worker follows the log itself."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

from WalletCore.domain.notices import BadEvent, Notice
from WalletCore.failures import StoreUnavailable
from WalletCore.postgres.follower import DeliveryFailed, LoggedEvent
from WalletCore.recorder import Recorder, read_event
from WalletCore.telemetry import get_logger
from WalletCore.tracing import NO_TRACES, BatchTraces, Tracer, process_words


class RecordingSink:
    """Receives events by recording them (see WalletCore.postgres.follower.Sink)."""

    def __init__(self, recorder: Recorder, tracer: Tracer = NO_TRACES) -> None:
        self._recorder = recorder
        self._traces = BatchTraces(tracer, process_words(None))
        self._gave_up = False
        self._log = get_logger()

    def send(self, events: Sequence[LoggedEvent]) -> Future[None]:
        """Record ``events``; the future has ended when this returns."""
        done: Future[None] = Future()
        notices = [notice for event in events if (notice := self._read(event)) is not None]
        try:
            with self._traces.batch(lambda: [event.told_by()[0] for event in events]):
                refused = self._recorder.record(notices)
        except StoreUnavailable as lost:
            done.set_exception(DeliveryFailed(f"the inbox is away: {lost}"))
            return done
        for place, why in refused.items():
            self._give_up(str(notices[place].event_id), str(why))
        done.set_result(None)
        self._traces.flush()
        return done

    def wait_until_ready(self, seconds: float) -> bool:  # noqa: ARG002 - of the port
        """Trying is the only way to find out."""
        return True

    def gave_up(self) -> bool:
        """See Sink: there is no dead queue here, so the place stays before what was given up."""
        return self._gave_up

    def _read(self, event: LoggedEvent) -> Notice | None:
        try:
            return read_event(event.body.encode())
        except BadEvent as bad:
            self._give_up(str(event.id), str(bad))
            return None

    def _give_up(self, event_id: str, why: str) -> None:
        """The event stays in the log, NotProcessed, and is tried again by the next start."""
        self._gave_up = True
        self._log.error("event_not_recorded", event_id=event_id, why=why)
