"""The shop: its users, its items with their prices, purchases.

The prices are those that it opens with; PUT /api/v1/shop/items/{item} changes them. What was paid
stands in the entries.
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

UPGRADE = """
ALTER TABLE coffer.entries DROP CONSTRAINT ck_entries_direction,
    ADD CONSTRAINT ck_entries_direction CHECK (
        CASE WHEN operation_type IN
            ('DEPOSIT', 'TRANSFER_IN', 'CAPTURE_IN', 'REVERSAL_IN', 'PURCHASE_IN')
        THEN delta > 0
        ELSE delta < 0 AND operation_type IN
            ('WITHDRAW', 'TRANSFER_OUT', 'CAPTURE_OUT', 'REVERSAL_OUT', 'PURCHASE_OUT') END);

CREATE TABLE coffer.shop_users (
    username text NOT NULL,
    wallet_id uuid NOT NULL,
    password_hash text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT pk_shop_users PRIMARY KEY (username),
    CONSTRAINT ck_shop_users_username_length CHECK (char_length(username) BETWEEN 1 AND 64)
);
CREATE UNIQUE INDEX uq_shop_users_wallet_id ON coffer.shop_users (wallet_id);

CREATE TABLE coffer.shop_items (
    name text NOT NULL,
    price bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    changed_by text NOT NULL,
    CONSTRAINT pk_shop_items PRIMARY KEY (name),
    CONSTRAINT ck_shop_items_name_length CHECK (char_length(name) BETWEEN 1 AND 64),
    CONSTRAINT ck_shop_items_price_range CHECK (price BETWEEN 1 AND 1000000000)
);
INSERT INTO coffer.shop_items (name, price, changed_by) VALUES
    ('t-shirt', 80, 'coffer'), ('cup', 20, 'coffer'), ('book', 50, 'coffer'),
    ('pen', 10, 'coffer'), ('powerbank', 200, 'coffer'), ('hoody', 300, 'coffer'),
    ('umbrella', 200, 'coffer'), ('socks', 10, 'coffer'), ('wallet', 50, 'coffer'),
    ('pink-hoody', 500, 'coffer');
"""

DOWNGRADE = """
DO $$ BEGIN
    IF EXISTS (SELECT FROM coffer.entries WHERE operation_type IN ('PURCHASE_OUT', 'PURCHASE_IN'))
    THEN
        RAISE EXCEPTION 'There are purchases, which the tables before do not know: entries are '
            'append-only, so there is no way back.';
    END IF;
END $$;
DROP TABLE coffer.shop_items, coffer.shop_users;
DELETE FROM coffer.idempotency_keys WHERE scope = 'shop';
ALTER TABLE coffer.entries DROP CONSTRAINT ck_entries_direction,
    ADD CONSTRAINT ck_entries_direction CHECK (
        CASE WHEN operation_type IN ('DEPOSIT', 'TRANSFER_IN', 'CAPTURE_IN', 'REVERSAL_IN')
        THEN delta > 0
        ELSE delta < 0 AND operation_type IN
            ('WITHDRAW', 'TRANSFER_OUT', 'CAPTURE_OUT', 'REVERSAL_OUT') END);
"""


def upgrade() -> None:
    """Add them."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Take them away, unless something was bought. Users are forgotten, with the keys under which
    they were made; their wallets stay.
    """
    op.execute(DOWNGRADE)
