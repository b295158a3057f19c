"""When a session got its place among those that may run, and the line of those that wait for one."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sessions", sa.Column("admitted_ms", sa.BigInteger(), nullable=True))
    op.execute("UPDATE sessions SET admitted_ms = created_ms")  # until now nobody had to wait
    in_line = sa.text("admitted_ms IS NULL AND ended_ms IS NULL")
    op.create_index(
        "sessions_in_line",
        "sessions",
        ["tenant", "created_ms", "id"],
        unique=False,
        postgresql_where=in_line,
        sqlite_where=in_line,
    )


def downgrade() -> None:
    op.drop_index("sessions_in_line", table_name="sessions")
    op.drop_column("sessions", "admitted_ms")
