"""Where workspaces are: the root that each one was first used in."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "workspaces",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("home", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.add_column("sessions", sa.Column("home", sa.String(length=64), nullable=True))


def downgrade() -> None:
    op.drop_column("sessions", "home")
    op.drop_table("workspaces")
