"""API keys."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE TABLE coffer.api_keys (
    id text NOT NULL,
    name text NOT NULL,
    secret_hash bytea NOT NULL,
    scopes text[] NOT NULL,
    owner text,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    revoked_by text,
    last_used_at timestamptz,
    CONSTRAINT pk_api_keys PRIMARY KEY (id),
    CONSTRAINT ck_api_keys_secret_hash_sha256 CHECK (octet_length(secret_hash) = 32),
    CONSTRAINT ck_api_keys_scopes_some CHECK (cardinality(scopes) > 0),
    CONSTRAINT ck_api_keys_admin_of_all CHECK (owner IS NULL OR NOT 'admin' = ANY (scopes)),
    CONSTRAINT ck_api_keys_revoked CHECK ((revoked_at IS NULL) = (revoked_by IS NULL))
);
"""


def upgrade() -> None:
    """Add them."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Forget them all."""
    op.execute("DROP TABLE coffer.api_keys")
