"""The worker's own: the inbox, which holds every event's id once, and the notifications.

Positions are given under a lock that is held until COMMIT (see WalletCore.postgres.inbox), so that
they are in the order in which notifications became visible.
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

UPGRADE = """
CREATE TABLE notifications.inbox (
    event_id uuid NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT pk_inbox PRIMARY KEY (event_id)
);

CREATE SEQUENCE notifications.notifications_position_seq AS bigint CACHE 1;
CREATE TABLE notifications.notifications (
    id uuid NOT NULL,
    position bigint NOT NULL DEFAULT nextval('notifications.notifications_position_seq'),
    event_id uuid NOT NULL,
    wallet_id uuid,
    user_id text,
    type text NOT NULL,
    title text NOT NULL,
    text text NOT NULL,
    data jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    read_at timestamptz,
    CONSTRAINT pk_notifications PRIMARY KEY (id)
);
CREATE UNIQUE INDEX uq_notifications_position ON notifications.notifications (position);
CREATE UNIQUE INDEX uq_notifications_event_id ON notifications.notifications (event_id);
CREATE INDEX ix_notifications_wallet_id_position
    ON notifications.notifications (wallet_id, position) WHERE wallet_id IS NOT NULL;
CREATE INDEX ix_notifications_user_id_position
    ON notifications.notifications (user_id, position) WHERE user_id IS NOT NULL;
"""

DOWNGRADE = """
DROP TABLE notifications.notifications, notifications.inbox;
DROP SEQUENCE notifications.notifications_position_seq;
"""


def upgrade() -> None:
    """Make the inbox and the notifications."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Take them away; what was recorded is announced again after the next upgrade."""
    op.execute(DOWNGRADE)
