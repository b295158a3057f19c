"""What a session is told and asked beside its task: system prompts, interjections, compactions; the line of sessions
in a conversation; fallback models; structured results."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TABLES = ("compactions", "interjections", "prompts")
COLUMNS: dict[str, sa.types.TypeEngine[Any]] = {
    "on_conflict": sa.String(length=16),
    "waits_since_ms": sa.BigInteger(),
    "opening_seq": sa.Integer(),
    "interjected": sa.Integer(),
    "compacted_step": sa.Integer(),
    "fallback_model": sa.Text(),
    "result": sa.Text(),
    "result_error": sa.Text(),
}


def upgrade() -> None:
    for name, kind in COLUMNS.items():
        op.add_column("sessions", sa.Column(name, kind, nullable=True))
    op.create_table(
        "prompts",
        sa.Column("session_id", sa.String(length=64), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("session_id"),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], ondelete="CASCADE"),
    )
    op.create_table(
        "interjections",
        sa.Column("session_id", sa.String(length=64), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("message_id", sa.String(length=64), nullable=True),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("session_id", "position"),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], ondelete="CASCADE"),
    )
    op.create_table(
        "compactions",
        sa.Column("session_id", sa.String(length=64), nullable=False),
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("conversation_id", sa.String(length=128), nullable=False),
        sa.Column("upto_seq", sa.Integer(), nullable=True),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("usage", sa.Text(), nullable=False),
        sa.Column("cost", sa.Float(), nullable=True),
        sa.Column("tokens_before", sa.Integer(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("session_id", "step"),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], ondelete="CASCADE"),
    )
    op.create_index("compactions_of_conversation", "compactions", ["conversation_id", "upto_seq"])


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)
    for name in COLUMNS:
        op.drop_column("sessions", name)
