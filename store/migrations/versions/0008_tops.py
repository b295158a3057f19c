"""Homes under the names by which they are looked up now: the folder of the root that a workspace stands in.

Earlier builds kept them under the whole name (`shop/api`). Where those of one folder disagree it gets the home of the
most of them, so that most of what was made stays within reach; of homes with equally many, that of the first name, so
that every run chooses the same. The rows of before stay: while a deploy lasts, builds that read them still run.
"""

import posixpath
from collections import Counter, defaultdict

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    kept = sa.text("SELECT name, home FROM workspaces WHERE name LIKE '%/%'")
    claim = sa.text("INSERT INTO workspaces (name, home) VALUES (:name, :home) ON CONFLICT DO NOTHING")
    homes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for name, home in sorted(tuple(row) for row in op.get_bind().execute(kept)):
        homes[posixpath.normpath(name).partition("/")[0]][home] += 1
    for top, counted in homes.items():
        ((home, _),) = counted.most_common(1)  # of equals the first that was counted
        op.get_bind().execute(claim, {"name": top, "home": home})


def downgrade() -> None:
    """What was added is what the build before would find at the first step in that folder."""
