"""``python -m RestAPI top``: what a running service does, live in the terminal."""

from __future__ import annotations

import time
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from RestAPI.client import KEY_VARIABLE, Away, Client, key_of
from RestAPI.edge import STATUS_PATH
from RestAPI.rates import Rates, rates_of
from WalletCore.command_line import CannotRun

_COLOURS: Final = {"up": "green", "down": "bold red", "none": "dim"}
_NOTHING: Final = "-"


def show(url: str, key_file: Path | None, interval: float, *, once: bool) -> None:
    """What the command does. Raises CannotRun."""
    client = Client(url, key_of(key_file))
    console = Console()
    try:
        before = look(client)
        if once:
            time.sleep(interval)
            now = look(client)
            console.print(frame(now, rates_of(before, now), client.url))
            return
        _watch(client, console, before, interval)
    except KeyboardInterrupt:
        pass
    except Away as error:
        raise CannotRun(f"{error} Start it with make run, or name another --url.") from None
    finally:
        client.close()


def _watch(client: Client, console: Console, before: Mapping[str, Any], interval: float) -> None:
    shown = frame(before, None, client.url)
    with Live(shown, console=console, screen=console.is_terminal, auto_refresh=False) as live:
        live.refresh()
        while True:
            time.sleep(interval)
            try:
                now = look(client)
            except Away as error:
                live.update(Group(Text(f"{error} Trying again.", "bold red"), shown), refresh=True)
                continue
            shown = frame(now, rates_of(before, now), client.url)
            live.update(shown, refresh=True)
            before = now


def look(client: Client) -> Mapping[str, Any]:
    """The status of the service. Raises CannotRun where it may not be known, Away."""
    status, document = client.ask("GET", STATUS_PATH)
    if status == HTTPStatus.UNAUTHORIZED:
        raise CannotRun(
            f"{client.url} asks for an API key that works: set {KEY_VARIABLE}, or give --key-file."
        )
    if status == HTTPStatus.FORBIDDEN:
        raise CannotRun(
            "The key may not see this: it needs the scope metrics and must not be limited to an "
            "owner."
        )
    if status != HTTPStatus.OK or not isinstance(document, dict) or "requests" not in document:
        raise Away(f"{client.url} does not tell its status (HTTP {status}).")
    return document


def frame(status: Mapping[str, Any], rates: Rates | None, url: str) -> Group:
    """One picture of the service."""
    return Group(
        Text(f"Coffer  {url}  {status['at']}", "bold"),
        _figures(status, rates),
        _parts(status),
        _hot_wallets(status),
    )


def _figures(status: Mapping[str, Any], rates: Rates | None) -> Table:
    lag = status["lag"]
    table = Table("requests/s", "5xx/s", "entries/s", "commands/batch", "p50", "p99", "queue")
    table.add_column("lag")
    table.add_row(
        _number(rates.requests if rates else None),
        _number(rates.failed if rates else None),
        _number(rates.entries if rates else None),
        _number(rates.commands_per_batch if rates else None),
        _milliseconds(rates.p50 if rates else None),
        _milliseconds(rates.p99 if rates else None),
        f"{status['queue']:,}",
        "not known" if lag is None else f"{lag['events']:,} events, {lag['seconds']:.0f} s",
    )
    return table


def _parts(status: Mapping[str, Any]) -> Table:
    table = Table("part", "state", "detail")
    for part in status["parts"]:
        state = Text(part["state"], _COLOURS.get(part["state"], ""))
        table.add_row(part["name"], state, Text(part["detail"]))
    return table


def _hot_wallets(status: Mapping[str, Any]) -> Table:
    table = Table("hot wallets", "events in 10 s")
    for hot in status["hot_wallets"]:
        table.add_row(hot["wallet_id"], f"{hot['events']:,}")
    return table


def _number(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:,.1f}"


def _milliseconds(seconds: float | None) -> str:
    return _NOTHING if seconds is None else f"< {seconds * 1000:g} ms"
