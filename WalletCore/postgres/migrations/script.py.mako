"""${message}."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forwards."""
    ${upgrades if upgrades else "raise NotImplementedError"}


def downgrade() -> None:
    """Back again, keeping every row that can be kept."""
    ${downgrades if downgrades else "raise NotImplementedError"}
