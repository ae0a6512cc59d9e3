"""The function of the database that does what ``WalletCore.folding.fold`` does."""

from __future__ import annotations

from typing import Final

from WalletCore.folding import CAPITALS, SMALL_LETTERS

FOLD_FUNCTION: Final = f"""
CREATE OR REPLACE FUNCTION coffer.fold(given text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE WHEN octet_length(given) = char_length(given) THEN lower(given COLLATE "C")
    ELSE translate(given, '{CAPITALS}', '{SMALL_LETTERS}') END
"""
"""Text of ASCII alone, the usual one, takes the short way."""
