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
    from WalletCore.log_level import watch_signals  # noqa: PLC0415
    from WalletCore.signals import on_stop  # noqa: PLC0415
    from WalletCore.telemetry import configure_logging  # noqa: PLC0415

    configure_logging(settings)
    watch_signals()
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
    """List them: id, size and reason."""
    with _dead_letters() as letters:
        shown = 0
        for shown, letter in enumerate(letters.take(), start=1):  # noqa: B007 - the last one counts
            reason = letter.reason or "delivered too often; a worker records it soon"
            short = _printable(reason)[:MAX_SHOWN_REASON_CHARACTERS]
            click.echo(f"{letter.id}  {len(letter.body):>7} bytes  {short}")
        click.echo(f"{shown} dead messages.")


@dead.command()
@click.argument("message_id")
def show(message_id: str) -> None:
    """Show a message whole. MESSAGE_ID as `list` prints it."""
    with _dead_letters() as letters:
        for letter in _chosen(letters, message_id):
            for name, value in (letter.properties.headers or {}).items():
                click.echo(f"{_printable(name)}: {_printable(str(value))}")
            click.echo()
            for line in letter.body.decode(errors="backslashreplace").split("\n"):
                click.echo(_printable(line))


@dead.command()
@click.argument("message_id", required=False)
@click.option("--all", "everything", is_flag=True, help="all of them")
def retry(message_id: str | None, everything: bool) -> None:
    """Send a message to the workers once more."""
    with _dead_letters() as letters:
        count = 0
        for letter in _chosen(letters, _one_or_all(message_id, everything=everything)):
            letters.retry(letter)
            count += 1
        click.echo(f"{count} sent again.")


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
        count = 0
        for letter in _chosen(letters, which):
            letters.remove(letter)
            count += 1
        click.echo(f"{count} thrown away.")


def _one_or_all(message_id: str | None, *, everything: bool) -> str | None:
    """Which ones; None means all. Raises UsageError."""
    if (message_id is None) is not everything:
        raise click.UsageError("Name one message, or say --all.")
    return message_id


def _chosen(letters: DeadLetters, message_id: str | None) -> Iterator[DeadLetter]:
    """The messages with this id, or all for None, one after the other; those that are not chosen
    are given back in the end. Raises CannotRun if there is none.
    """
    others: list[int] = []
    found = False
    for letter in letters.take():
        if message_id in (None, letter.id):
            found = True
            yield letter
        else:
            others.append(letter.tag)
    letters.give_back(others)
    if not found and message_id is not None:
        raise CannotRun(f"There is no dead message {message_id}. `dead list` lists them.")


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
    except AMQPError as error:
        raise CannotRun(f"The broker was lost: {type(error).__name__}. Run it again.") from None
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
