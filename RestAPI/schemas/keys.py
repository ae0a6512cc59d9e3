"""API keys in and out."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from pydantic import BeforeValidator, ConfigDict, Field

from RestAPI.schemas import values
from RestAPI.schemas.fields import Answer, Instant, SomeText, Strict
from WalletCore.keys import ID_BYTES, MAX_KEY_DAYS, Scope

KEY_ID_PATTERN: Final = rf"^[0-9a-f]{{{ID_BYTES * 2}}}$"


Days: TypeAlias = Annotated[int, Field(ge=1, le=MAX_KEY_DAYS), BeforeValidator(values.whole_number)]
"""For how long."""


class KeyPath(Strict):
    """The id in the path of a key."""

    key_id: str = Field(pattern=KEY_ID_PATTERN, examples=["5f0c2a9e81b47d36"])


class NoQuery(Strict):
    """Nothing can be said in the URL: a dry_run that is not one must not be ignored."""


class KeyCreation(Strict):
    """A new API key."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"name": "shop", "scopes": ["wallets:read", "wallets:write"]},
                {"name": "alice", "scopes": ["wallets:read"], "owner": "alice"},
            ]
        }
    )

    name: SomeText = Field(description="What it is for.")
    scopes: list[Scope] = Field(
        min_length=1,
        max_length=len(Scope),
        description="What it may do; `admin` may do everything.",
    )
    owner: SomeText | None = Field(
        None, description="Whose wallets alone it reaches; by default everybody's."
    )
    expires_in_days: Days | None = Field(
        None, description="How long it works; by default until it is revoked."
    )


class Key(Answer):
    """An API key; nothing of its secret."""

    id: str
    name: str
    scopes: list[Scope]
    owner: str | None
    created_at: Instant
    created_by: str = Field(description="`key:` and an id, `shell`, or `open`.")
    expires_at: Instant | None
    revoked_at: Instant | None
    revoked_by: str | None
    last_used_at: Instant | None = Field(description="Up to a minute old.")


class MadeKey(Key):
    """A new API key, with its text."""

    key: str = Field(description="The key itself, shown this once.")


class KeyList(Answer):
    """All API keys."""

    items: list[Key]
