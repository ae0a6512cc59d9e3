"""``python -m NotificationWorker [run | migrate | dead list|show|retry|purge]``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import click

from WalletCore.command_line import CannotRun, refuse_memory, usable_settings
from WalletCore.database import first_line, require_schema, running_database
from WalletCore.settings import Settings

if TYPE_CHECKING:
    from NotificationWorker.dead_letters import DeadLetter, DeadLetters

MAX_SHOWN_REASON_CHARACTERS: Final = 80


@click.group(invoke_without_command=True)
@click.pass_context
def main(context: click.Context) -> None:
    """Coffer's worker. Without a command it records notifications until SIGTERM or Ctrl-C."""
    if context.invoked_subcommand is None:
        context.invoke(run)


@main.command()
def run() -> None:
    """Record a notification of every event, from the broker or, without one, from the log."""
    settings = usable_settings()
    refuse_memory(settings, "the worker")
    from NotificationWorker.worker import Worker  # noqa: PLC0415 - the other commands need none
    from WalletCore.signals import on_stop  # noqa: PLC0415
    from WalletCore.telemetry import configure_logging  # noqa: PLC0415

    configure_logging(settings)
    url = running_database(settings)
    require_schema(url)
    try:
        worker = Worker(settings, url)
    except (OSError, ValueError) as error:
        raise CannotRun(f"The worker cannot start: {first_line(error)}") from error
    on_stop(worker.stop)
    worker.run()


@main.command()
def migrate() -> None:
    """Bring the tables to the newest version, and make the worker's role.

    As COFFER_MIGRATION_DATABASE_URL; the role of COFFER_DATABASE_URL is made and granted what a
    worker needs.
    """
    from psycopg import Error  # noqa: PLC0415
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415

    from WalletCore.postgres.migrate import head, upgrade  # noqa: PLC0415

    settings = usable_settings()
    refuse_memory(settings, "a migration")
    url = running_database(settings)
    owner = settings.migration_database_url
    try:
        upgrade(owner.get_secret_value() if owner is not None else url, worker_url=url)
    except (DBAPIError, Error, ValueError) as error:
        raise CannotRun(f"The migration failed: {first_line(error)}") from error
    click.echo(f"The tables are at version {head()}, and the worker's role may use them.")


@main.group()
def dead() -> None:
    """Look at the messages that could not be read, and decide what becomes of them."""


@dead.command("list")
def list_() -> None:
    """List them: number, id, size and reason."""
    with _dead_letters() as letters:
        shown = 0
        for number, letter in enumerate(letters.take(), start=1):
            reason = letter.reason or "delivered too often; a worker records it soon"
            size = len(letter.body)
            short = _printable(reason)[:MAX_SHOWN_REASON_CHARACTERS]
            click.echo(f"{number:>5}  {_printable(letter.id)}  {size:>7} bytes  {short}")
            shown = number
        click.echo(f"{shown} dead messages.")


@dead.command()
@click.argument("message_id")
def show(message_id: str) -> None:
    """Show a message whole. MESSAGE_ID as `list` prints it, or its number there."""
    with _dead_letters() as letters:
        for letter in _chosen(letters, message_id):
            for name, value in (letter.properties.headers or {}).items():
                click.echo(f"{_printable(name)}: {_printable(str(value))}")
            click.echo()
            click.echo(letter.body.decode(errors="backslashreplace"))


@dead.command()
@click.argument("message_id", required=False)
@click.option("--all", "everything", is_flag=True, help="all of them")
def retry(message_id: str | None, everything: bool) -> None:
    """Send a message to the workers once more."""
    with _dead_letters() as letters:
        chosen = _chosen(letters, _one_or_all(message_id, everything=everything))
        for letter in chosen:
            letters.retry(letter)
        click.echo(f"{len(chosen)} sent again.")


@dead.command()
@click.argument("message_id", required=False)
@click.option("--all", "everything", is_flag=True, help="all of them")
@click.option("--yes", is_flag=True, help="do not ask")
def purge(message_id: str | None, everything: bool, yes: bool) -> None:
    """Throw a message away for good."""
    which = _one_or_all(message_id, everything=everything)
    if not yes:
        click.confirm("Throw away for good?", abort=True)
    with _dead_letters() as letters:
        chosen = _chosen(letters, which)
        for letter in chosen:
            letters.remove(letter)
        click.echo(f"{len(chosen)} thrown away.")


def _one_or_all(message_id: str | None, *, everything: bool) -> str | None:
    """Which ones; None means all. Raises UsageError."""
    if (message_id is None) is not everything:
        raise click.UsageError("Name one message, or say --all.")
    return message_id


def _chosen(letters: DeadLetters, message_id: str | None) -> list[DeadLetter]:
    """The messages with this id or number, or all for None. Raises CannotRun if there is none."""
    numbers = iter(range(1, 2**63))
    chosen, _ = letters.sort(
        lambda letter: message_id in (None, letter.id) or str(next(numbers)) == message_id
    )
    if not chosen and message_id is not None:
        raise CannotRun(f"There is no dead message {message_id}. `dead list` lists them.")
    return chosen


@contextmanager
def _dead_letters() -> Iterator[DeadLetters]:
    """The dead queue of the configured broker. Raises CannotRun."""
    settings = usable_settings()
    import pika  # noqa: PLC0415
    from pika.exceptions import AMQPError, ChannelClosedByBroker  # noqa: PLC0415

    from NotificationWorker.dead_letters import DeadLetters  # noqa: PLC0415
    from WalletCore.topology import Topology, bounded_url  # noqa: PLC0415

    url = bounded_url(_broker(settings), "coffer-dead-letters")
    try:
        connection = pika.BlockingConnection(pika.URLParameters(url))
    except (AMQPError, OSError) as error:
        raise CannotRun(f"The broker cannot be reached: {type(error).__name__}") from None
    try:
        letters = DeadLetters(connection, Topology.of(settings))
        yield letters
        letters.close()
    except ChannelClosedByBroker as error:
        raise CannotRun(
            f"The broker refused: {error.reply_text}. The queues are there once a worker ran."
        ) from None
    finally:
        with suppress(AMQPError):
            connection.close()


def _broker(settings: Settings) -> str:
    if settings.amqp_url is None:
        raise CannotRun("COFFER_AMQP_URL is not set: without a broker there is no dead queue.")
    return settings.amqp_url.get_secret_value()


def _printable(text: str) -> str:
    return text if text.isprintable() else ascii(text)[1:-1]


if __name__ == "__main__":
    main()
