"""What a run measures, and how much of it."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.measurements import WEB_SERVERS


@dataclass(frozen=True, slots=True)
class Options:
    """How much to measure. ``only``: beginnings of names, empty for all; ``seconds`` of each, but
    ``shop_seconds`` of the shop, with so many ``users``.

    ``backlog``: how many events wait when relay and worker are started. ``smoke``: whether it is
    only to be seen that everything runs, so that no target is judged.
    """

    rounds: int = 5
    seconds: float = 8.0
    wallets: int = 10_000
    backlog: int = 100_000
    shop_seconds: float = 60.0
    users: int = 100_000
    servers: tuple[str, ...] = WEB_SERVERS
    only: tuple[str, ...] = ()
    smoke: bool = False

    def wants(self, *names: str) -> bool:
        """Whether any of ``names`` is to be measured."""
        return not self.only or any(name.startswith(self.only) for name in names)
