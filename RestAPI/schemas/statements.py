"""Statements in and out."""

from __future__ import annotations

from pydantic import Field

from RestAPI.schemas.fields import Answer, Instant, Moment, Money, Strict, UuidText
from RestAPI.schemas.operations import Operation
from RestAPI.statement_formats import Format


class StatementQuery(Strict):
    """Which period, and how it is written."""

    since: Moment | None = Field(
        None, alias="from", description="From this moment on, RFC 3339; left out, from the start."
    )
    until: Moment | None = Field(
        None,
        alias="to",
        description="Before this moment, RFC 3339; left out or in the future, it is now.",
    )
    format: Format = Field(Format.JSON, description="json, or csv for spreadsheets.")


class StatementTotals(Answer):
    """What the entries add up to."""

    credits: Money = Field(description="The sum of what came in.")
    debits: Money = Field(description="The sum of what went out, positive.")
    count: int = Field(ge=0, description="How many entries there are.")


class Statement(Answer):
    """What moved in a wallet in a period: opening_balance + credits - debits = closing_balance."""

    wallet_id: UuidText
    currency: str
    since: Instant | None = Field(alias="from", description="As it was sent; null is the start.")
    until: Instant = Field(alias="to", description="As it was sent, at most now.")
    opening_balance: Money = Field(description="Before the first entry of the period.")
    entries: list[Operation] = Field(description="All of them, oldest first.")
    totals: StatementTotals
    closing_balance: Money = Field(description="The last member: with it the answer is whole.")
