"""``python -m RestAPI``: server, relay, migrate, verify, status, top, import, keys, profile."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from RestAPI.client import DEFAULT_URL, KEY_VARIABLE
from RestAPI.keys_command import keys
from RestAPI.profile_command import profile
from WalletCore.command_line import CannotRun, refuse_memory, usable_settings
from WalletCore.database import embedded_database, first_line, running_database
from WalletCore.settings import Settings

if TYPE_CHECKING:
    from WalletCore.postgres.verify import Progress

MIN_INTERVAL_SECONDS: Final = 0.2
MAX_INTERVAL_SECONDS: Final = 60.0
"""How often ``top`` may look."""

PROGRESS_SECONDS: Final = 1.0
"""How often ``verify`` says how far it is."""

EXIT_DIFFERENT: Final = 1
"""What ``verify`` exits with when the ledger does not add up, and ``import`` if it refused."""


@click.group()
def main() -> None:
    """Coffer's HTTP service. Its settings come from the environment and from .env."""


main.add_command(keys)
main.add_command(profile)


@main.command()
def server() -> None:
    """Serve HTTP until SIGTERM or Ctrl-C."""
    from RestAPI.server import serve  # noqa: PLC0415 - the other commands need no server

    settings = usable_settings()
    _check_currencies(settings)
    serve(settings)


@main.command()
def relay() -> None:
    """Publish the event log to the broker, until SIGTERM or Ctrl-C.

    Any number may run; one leads, the others stand by. It also drops what is older than the
    retention, with or without a broker.
    """
    settings = usable_settings()
    refuse_memory(settings, "the relay")
    from RestAPI.relay import Relay  # noqa: PLC0415 - the other commands need no broker
    from WalletCore.database import require_schema, running_database  # noqa: PLC0415
    from WalletCore.log_level import watch_signals  # noqa: PLC0415
    from WalletCore.signals import on_stop  # noqa: PLC0415
    from WalletCore.telemetry import configure_logging  # noqa: PLC0415

    configure_logging(settings)
    watch_signals()
    url = running_database(settings)
    require_schema(url)
    try:
        process = Relay(settings, url)
    except (OSError, ValueError) as error:
        raise CannotRun(f"The relay cannot start: {first_line(error)}") from error
    on_stop(process.stop)
    process.run()


@main.command()
def status() -> None:
    """Say whether database, cache, broker, relay and worker are there, and how far behind.

    Exits 1 if something that is configured is missing.
    """
    settings = usable_settings()
    refuse_memory(settings, "status")
    from RestAPI.status import report  # noqa: PLC0415

    lines, healthy = report(settings, running_database(settings))
    for line in lines:
        click.echo(line)
    sys.exit(0 if healthy else EXIT_DIFFERENT)


@main.command()
@click.option("--url", default=DEFAULT_URL, show_default=True, help="Where the service answers.")
@click.option(
    "--key-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"A file with an API key of the scope metrics; by default ${KEY_VARIABLE}, if it is set.",
)
@click.option(
    "--interval",
    type=click.FloatRange(MIN_INTERVAL_SECONDS, MAX_INTERVAL_SECONDS),
    default=2.0,
    show_default=True,
    help="Seconds between two looks.",
)
@click.option("--once", is_flag=True, help="Print one frame, after one interval, and end.")
def top(url: str, key_file: Path | None, interval: float, once: bool) -> None:
    """Show what a running service does: rates, latency, lag, hot wallets. Ctrl-C ends it."""
    from RestAPI.top import show  # noqa: PLC0415 - the other commands draw nothing

    show(url, key_file, interval, once=once)


@main.command()
def migrate() -> None:
    """Bring the database's tables to the newest version.

    As COFFER_MIGRATION_DATABASE_URL, if that is set; then the role of COFFER_DATABASE_URL is made
    and granted what the service needs.
    """
    settings = usable_settings()
    if settings.in_memory:
        click.echo("memory:// has no tables; there is nothing to do.")
        return
    with embedded_database(settings) as complete:
        _migrate(complete)


@main.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, readable=True, path_type=Path))
@click.option("--name", help="What tells this import from others; by default the file's name.")
@click.option("--dry-run", is_flag=True, help="Only say what would happen, keys aside.")
def import_file(file: Path, name: str | None, dry_run: bool) -> None:
    """Do the operations and transfers in FILE, a .csv or .ndjson, each on its own.

    The columns, or members, are those of POST /api/v1/operations/bulk: wallet_id, operation_type
    and amount, or source_wallet_id, target_wallet_id and amount; reference, description, metadata
    (JSON), idempotency_key.

    Running it again changes nothing and goes on where it broke off: every row has a key, its own or
    one made of the import's name, its place in the file and what it says. The service forgets keys
    after COFFER_KEY_RETENTION_DAYS. Exits 1 if rows were refused, and lists them.
    """
    settings = usable_settings()
    refuse_memory(settings, "an import")
    from RestAPI.importing import CannotImport, Import  # noqa: PLC0415
    from WalletCore.database import require_schema  # noqa: PLC0415
    from WalletCore.open_store import open_store  # noqa: PLC0415
    from WalletCore.telemetry import configure_logging  # noqa: PLC0415

    configure_logging(settings.model_copy(update={"log_level": "WARNING"}))
    with embedded_database(settings) as complete:
        require_schema(running_database(complete))
        store = open_store(complete)
        run = Import(store, file, name or file.name, dry_run=dry_run)
        try:
            with click.progressbar(length=file.stat().st_size, label=file.name) as bar:
                run.do(bar.update)
        except CannotImport as error:
            raise CannotRun(str(error)) from None
        finally:
            store.close()
    for line in run.report():
        click.echo(line)
    sys.exit(EXIT_DIFFERENT if run.refused else 0)


@main.command()
def verify() -> None:
    """Replay every wallet's entries and compare them with the wallets.

    Exits 1 on the first difference and names it, 2 if the ledger cannot be read.
    """
    settings = usable_settings()
    if settings.in_memory:
        raise CannotRun(
            "memory:// lives and ends with its server; there is nothing to verify from outside. "
            "GET /api/v1/ledger/trial-balance asks the server itself."
        )
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415

    from WalletCore.postgres.verify import verify as replay  # noqa: PLC0415

    url = running_database(settings)
    try:
        last = _follow(replay(url))
    except (DBAPIError, ValueError) as error:
        raise CannotRun(f"The ledger cannot be read: {first_line(error)}") from error
    counts = f"{last.wallets:,} wallets, {last.entries:,} entries" if last else "nothing"
    if last and last.difference:
        click.echo(f"DIFFERENT after {counts}: {last.difference}")
        sys.exit(EXIT_DIFFERENT)
    click.echo(f"Clean: {counts}; every balance, version and sequence agrees.")


def _follow(steps: Iterable[Progress]) -> Progress | None:
    """Print how far it is every PROGRESS_SECONDS; return the last step."""
    last: Progress | None = None
    printed = time.monotonic()
    for last in steps:
        if time.monotonic() - printed >= PROGRESS_SECONDS:
            click.echo(f"{last.wallets:,} wallets, {last.entries:,} entries so far")
            printed = time.monotonic()
    return last


def _migrate(settings: Settings) -> None:
    from psycopg import Error  # noqa: PLC0415
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415

    from WalletCore.postgres import migrate as migrations  # noqa: PLC0415
    from WalletCore.postgres.connect import wait_for_database  # noqa: PLC0415

    url = running_database(settings)
    owner = settings.migration_database_url
    owner_url = owner.get_secret_value() if owner is not None else url
    try:
        wait_for_database(owner_url)
        before = migrations.current(owner_url)
        migrations.upgrade(owner_url, service_url=url)
    except (DBAPIError, Error, ValueError) as error:
        raise CannotRun(f"The migration failed: {first_line(error)}") from error
    after = migrations.head()
    if before == after:
        click.echo(f"The tables are at version {after} already.")
    else:
        click.echo(f"The tables are at version {after} now; they were at {before or 'none'}.")


def _check_currencies(settings: Settings) -> None:
    """Refuse currencies that cannot be before a server with many processes finds out."""
    from WalletCore.currencies import load_currencies  # noqa: PLC0415
    from WalletCore.domain.errors import CurrencyUnknown  # noqa: PLC0415

    try:
        load_currencies(settings.currencies)[settings.default_currency]
    except ValueError as error:
        raise CannotRun(str(error)) from None
    except CurrencyUnknown:
        raise CannotRun(
            f"COFFER_DEFAULT_CURRENCY={settings.default_currency} is neither in ISO 4217 nor in "
            "COFFER_CURRENCIES."
        ) from None


if __name__ == "__main__":
    main()
