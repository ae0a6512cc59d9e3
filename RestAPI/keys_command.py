"""``python -m RestAPI keys``: API keys from the shell, for whoever may use the database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import click

from WalletCore.command_line import CannotRun, refuse_memory, usable_settings
from WalletCore.database import require_schema, running_database, stored_keys
from WalletCore.domain.errors import CofferError
from WalletCore.domain.model import rfc3339
from WalletCore.domain.origin import SHELL_ACTOR
from WalletCore.keys import MAX_KEY_DAYS, MAX_NAME_CHARACTERS, ApiKey, Scope, new_key

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from WalletCore.keys import Keys

NAME: Final = "bootstrap"


@click.group()
def keys() -> None:
    """Make, list and revoke the API keys of the configured database."""


@keys.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice([scope.value for scope in Scope]),
    multiple=True,
    required=True,
    help="What it may do; give it several times for several. admin may do everything.",
)
@click.option("--owner", help="Whose wallets alone it reaches.")
@click.option(
    "--expires-in-days",
    type=click.IntRange(1, MAX_KEY_DAYS),
    help="How long it works; by default until it is revoked.",
)
def create(
    name: str, scopes: tuple[str, ...], owner: str | None, expires_in_days: int | None
) -> None:
    """Make a key called NAME and print it, this once."""
    for text in (name, owner):
        if text is not None and not 0 < len(text) <= MAX_NAME_CHARACTERS:
            raise CannotRun(f"NAME and --owner are 1 to {MAX_NAME_CHARACTERS} characters.")
    ends = datetime.now(UTC) + timedelta(days=expires_in_days) if expires_in_days else None
    try:
        key, text = new_key(
            name,
            [Scope(scope) for scope in scopes],
            owner=owner,
            expires_at=ends,
            created_by=SHELL_ACTOR,
        )
        with _stored() as stored:
            stored.add(key)
    except (ValueError, CofferError) as error:
        raise CannotRun(str(error)) from None
    click.echo(text)


@keys.command("list")
def list_keys() -> None:
    """List all keys, the newest first."""
    with _stored() as stored:
        for key in stored.all():
            click.echo(_line(key))


@keys.command()
@click.argument("key_id")
def revoke(key_id: str) -> None:
    """Let the key of this id never work again: within two seconds, everywhere."""
    try:
        with _stored() as stored:
            click.echo(_line(stored.revoke(key_id, SHELL_ACTOR, datetime.now(UTC))))
    except CofferError as error:
        raise CannotRun(error.detail) from None


@keys.command()
def new() -> None:
    """Print a key for COFFER_BOOTSTRAP_KEY; nothing is stored."""
    click.echo(new_key(NAME, [Scope.ADMIN], created_by=SHELL_ACTOR)[1])


def _stored() -> AbstractContextManager[Keys]:
    """The keys of the configured database. Raises CannotRun."""
    settings = usable_settings()
    refuse_memory(settings, "keys")
    url = running_database(settings)
    require_schema(url)
    return stored_keys(url)


def _line(key: ApiKey) -> str:
    """A key for a person: one line, nothing of its secret."""
    state = "works"
    if key.revoked_at is not None:
        state = f"revoked {rfc3339(key.revoked_at)} by {key.revoked_by}"
    elif not key.works(datetime.now(UTC)):
        state = "expired"
    used = rfc3339(key.last_used_at) if key.last_used_at is not None else "never"
    ends = rfc3339(key.expires_at) if key.expires_at is not None else "never"
    owner = f", owner {key.owner!r}" if key.owner is not None else ""
    return (
        f"{key.id} {key.name!r}: {', '.join(sorted(key.scopes))}{owner}; {state}; "
        f"made {rfc3339(key.created_at)} by {key.created_by}, ends {ends}, last used {used}"
    )
