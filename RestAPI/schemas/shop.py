"""The shop in and out. Its shapes and names are published, and not those of the rest."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, SecretStr, WithJsonSchema

from RestAPI.schemas import values
from RestAPI.schemas.fields import Answer, Instant, Strict
from WalletCore.domain.money import MAX_AMOUNT_MINOR
from WalletCore.shop import MAX_NAME_CHARACTERS, MAX_PRICE_COINS

MAX_PASSWORD_CHARACTERS: Final = 128
ITEM_PATTERN: Final = rf"^[a-z0-9][a-z0-9-]{{0,{MAX_NAME_CHARACTERS - 1}}}$"

Username: TypeAlias = Annotated[
    str,
    Field(min_length=1, max_length=MAX_NAME_CHARACTERS),
    AfterValidator(values.username),
]
"""Letters and digits of any script, and ``. _ - @ +``; capitals count."""

Password: TypeAlias = Annotated[
    SecretStr,
    Field(min_length=1, max_length=MAX_PASSWORD_CHARACTERS),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_PASSWORD_CHARACTERS}),
]
"""Whatever text."""

Coins: TypeAlias = Annotated[
    int, Field(ge=1, le=MAX_AMOUNT_MINOR), BeforeValidator(values.whole_number)
]
"""A number of coins in a body."""

Price: TypeAlias = Annotated[
    int, Field(ge=1, le=MAX_PRICE_COINS), BeforeValidator(values.whole_number)
]
"""The same, of a price."""


class LogIn(Strict):
    """Who wants a token."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"username": "alice", "password": "correct horse"}]}
    )

    username: Username = Field(description="Letters, digits and . _ - @ + only; capitals count.")
    password: Password


class Token(Answer):
    """What to send as ``Authorization: Bearer``."""

    token: str


class Bought(Answer):
    """An item that somebody has bought."""

    type: str
    quantity: int = Field(ge=1)


class Received(Answer):
    """Coins from somebody."""

    fromUser: str  # noqa: N815 - published
    amount: int = Field(ge=1)


class Sent(Answer):
    """Coins to somebody."""

    toUser: str  # noqa: N815 - published
    amount: int = Field(ge=1)


class CoinHistory(Answer):
    """Gifts, added up by the other user."""

    received: list[Received]
    sent: list[Sent]


class Info(Answer):
    """What somebody has."""

    coins: int = Field(ge=0)
    inventory: list[Bought]
    coinHistory: CoinHistory  # noqa: N815 - published


class Priced(Answer):
    """An item that there is to buy."""

    type: str
    price: int = Field(ge=1, description="A whole number of coins.")


class PriceList(Answer):
    """What there is to buy."""

    items: list[Priced]


class Gift(Strict):
    """Coins for somebody else."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"toUser": "bob", "amount": 5}]})

    toUser: Username  # noqa: N815 - published
    amount: Coins = Field(description="A whole number of coins.")


class ItemToBuy(Strict):
    """What is bought."""

    item: str = Field(max_length=MAX_NAME_CHARACTERS, examples=["cup"])


class ItemPath(Strict):
    """The item whose price is set."""

    item: str = Field(pattern=ITEM_PATTERN, examples=["cup"])


class PriceChange(Strict):
    """What an item costs from now on."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"price": 25}]})

    price: Price = Field(description="A whole number of coins.")


class ShopItem(Answer):
    """An item of the shop, and its price in coins."""

    name: str
    price: int
    created_at: Instant
    updated_at: Instant
    changed_by: str = Field(description="Who set the price: `key:` and an id, `open`, `coffer`.")


class ShopItemList(Answer):
    """Everything that there is to buy."""

    items: list[ShopItem]
