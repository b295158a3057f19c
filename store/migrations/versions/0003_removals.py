"""Removed conversations, whose folders workers may take away; sessions' idempotency keys are found by their session."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "removals",
        sa.Column("conversation_id", sa.String(length=128), nullable=False),
        sa.Column("removed_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("conversation_id"),
    )
    op.create_index("removals_by_time", "removals", ["removed_ms"], unique=False)
    op.create_index("idempotency_keys_of_session", "idempotency_keys", ["session_id"], unique=False)


def downgrade() -> None:
    op.drop_index("idempotency_keys_of_session", table_name="idempotency_keys")
    op.drop_table("removals")
