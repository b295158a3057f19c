"""The index of those that wait behind another session of their conversation."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

NAME = "sessions_behind_others"


def upgrade() -> None:
    behind = sa.text("waits_since_ms IS NOT NULL")
    op.create_index(NAME, "sessions", ["conversation_id"], postgresql_where=behind, sqlite_where=behind)


def downgrade() -> None:
    op.drop_index(NAME, table_name="sessions")
