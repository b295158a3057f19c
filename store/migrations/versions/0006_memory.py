"""Memory: files in chunks, an index of their words, memory sessions, what sessions begin with; earlier summaries are
taken in."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TABLES = (
    "memory_syncs",
    "memory_passages",
    "memory_links",
    "memory_sessions",
    "memory_vectors",
    "memory_chunks",
    "memory_files",
)


def upgrade() -> None:
    _files()
    _chunks()
    if op.get_bind().dialect.name == "sqlite":
        _words_of_sqlite()
    else:
        _words_of_postgresql()
    _sessions()
    _passages()
    op.create_table(
        "memory_syncs",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("holder", sa.String(length=64), nullable=True),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.Column("synced_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("name"),
    )
    op.execute("INSERT INTO memory_syncs (name, until_ms) VALUES ('files', 0)")
    _earlier_summaries()


def downgrade() -> None:
    op.execute("DROP TABLE memory_words")
    for table in TABLES:
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION memory_chunk_words")


def _files() -> None:
    op.create_table(
        "memory_files",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("path", sa.String(length=1024), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.Column("conversation_id", sa.String(length=128), nullable=True),
        sa.Column("session_id", sa.String(length=64), nullable=True),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.Column("chunks", sa.Integer(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], ondelete="CASCADE"),
    )
    live = sa.text("live")
    op.create_index(
        "memory_files_by_path", "memory_files", ["path"], unique=True, postgresql_where=live, sqlite_where=live
    )
    op.create_index("memory_files_by_time", "memory_files", ["created_ms", "id"])
    op.create_index("memory_files_of_conversation", "memory_files", ["conversation_id"])
    op.create_index("memory_files_of_session", "memory_files", ["session_id"])


def _chunks() -> None:
    op.create_table(
        "memory_chunks",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("file_id", sa.String(length=64), nullable=False),
        sa.Column("start_line", sa.Integer(), nullable=False),
        sa.Column("end_line", sa.Integer(), nullable=False),
        sa.Column("heading", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("place_words", sa.Text(), nullable=False),
        sa.Column("heading_words", sa.Text(), nullable=False),
        sa.Column("text_words", sa.Text(), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("id"),
        sa.ForeignKeyConstraint(["file_id"], ["memory_files.id"], ondelete="CASCADE"),
    )
    op.create_index("memory_chunks_of_file", "memory_chunks", ["file_id", "start_line"])
    op.create_table(
        "memory_vectors",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("signs", sa.LargeBinary(), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.ForeignKeyConstraint(["number"], ["memory_chunks.number"], ondelete="CASCADE"),
    )
    op.create_index("memory_vectors_of_model", "memory_vectors", ["model", "number"])


def _words_of_sqlite() -> None:
    """FTS5 reads the words from the chunks themselves; what is removed must be told to it with its words."""
    op.execute(
        "CREATE VIRTUAL TABLE memory_words USING fts5(place_words, heading_words, text_words, "
        "content='memory_chunks', content_rowid='number', tokenize='porter unicode61 remove_diacritics 2')"
    )
    op.execute(
        "CREATE TRIGGER memory_words_come AFTER INSERT ON memory_chunks BEGIN "
        "INSERT INTO memory_words(rowid, place_words, heading_words, text_words) "
        "VALUES (new.number, new.place_words, new.heading_words, new.text_words); END"
    )
    op.execute(
        "CREATE TRIGGER memory_words_go AFTER DELETE ON memory_chunks BEGIN "
        "INSERT INTO memory_words(memory_words, rowid, place_words, heading_words, text_words) "
        "VALUES ('delete', old.number, old.place_words, old.heading_words, old.text_words); END"
    )


def _words_of_postgresql() -> None:
    """A table of its own, so that what is matched and ranked is not read with the text."""
    op.execute(
        "CREATE TABLE memory_words (number INTEGER PRIMARY KEY REFERENCES memory_chunks(number) ON DELETE CASCADE, "
        "length INTEGER NOT NULL, words TSVECTOR NOT NULL)"
    )
    op.execute("CREATE INDEX memory_words_index ON memory_words USING gin (words)")
    op.execute(
        "CREATE FUNCTION memory_chunk_words() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "INSERT INTO memory_words VALUES (new.number, new.length, "
        "setweight(to_tsvector('english', new.place_words), 'A') || "
        "setweight(to_tsvector('english', new.heading_words), 'B') || to_tsvector('english', new.text_words)); "
        "RETURN NULL; END $$"
    )
    op.execute(
        "CREATE TRIGGER memory_words_come AFTER INSERT ON memory_chunks "
        "FOR EACH ROW EXECUTE FUNCTION memory_chunk_words()"
    )


def _sessions() -> None:
    op.create_table(
        "memory_sessions",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("user_id", sa.Text(), nullable=True),
        sa.Column("conversation_id", sa.String(length=128), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("tenant", sa.String(length=255), nullable=False),
        sa.Column("request_key", sa.String(length=255), nullable=True),
        sa.Column("request_hash", sa.String(length=64), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("archived_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("tenant", "request_key", name="memory_sessions_once"),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], ondelete="CASCADE"),
    )
    op.create_index("memory_sessions_by_time", "memory_sessions", ["created_ms", "id"])
    op.create_index("memory_sessions_of_conversation", "memory_sessions", ["conversation_id"])
    op.create_table(
        "memory_links",
        sa.Column("memory_session_id", sa.String(length=64), nullable=False),
        sa.Column("conversation_id", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("memory_session_id", "conversation_id"),
        sa.ForeignKeyConstraint(["memory_session_id"], ["memory_sessions.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], ondelete="CASCADE"),
    )
    op.create_index("memory_links_of_conversation", "memory_links", ["conversation_id"])


def _passages() -> None:
    op.create_table(
        "memory_passages",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("conversation_id", sa.String(length=128), nullable=True),
        sa.Column("memory_session_id", sa.String(length=64), nullable=True),
        sa.Column("session_id", sa.String(length=64), nullable=True),
        sa.Column("path", sa.String(length=1024), nullable=False),
        sa.Column("start_line", sa.Integer(), nullable=False),
        sa.Column("end_line", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["memory_session_id"], ["memory_sessions.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], ondelete="CASCADE"),
    )
    for owner in ("conversation", "memory_session", "session"):
        op.create_index(f"memory_passages_of_{owner}", "memory_passages", [f"{owner}_id"])


def _earlier_summaries() -> None:
    """Those of sessions that ended before there was a memory, each as one piece."""
    newline = "char(10)" if op.get_bind().dialect.name == "sqlite" else "chr(10)"
    told = "status = 'completed' AND summary IS NOT NULL AND trim(summary) <> ''"
    shown = "substr(summary, 1, 8000)"
    lines = f"length({shown}) - length(replace({shown}, {newline}, '')) + 1"
    files = f"""
        INSERT INTO memory_files
            (id, path, source, live, conversation_id, session_id, hash, size, lines, chunks, created_ms)
        SELECT 'memf_' || substr(id, 6), '@sessions/' || id || '.md', 'summary', true, conversation_id, id, '',
            length({shown}), {lines}, 1, ended_ms
        FROM sessions WHERE {told}
    """  # noqa: S608 - constants
    chunks = f"""
        INSERT INTO memory_chunks
            (id, file_id, start_line, end_line, heading, text, place_words, heading_words, text_words, length)
        SELECT 'memc_' || substr(id, 6), 'memf_' || substr(id, 6), 1, {lines}, substr(goal, 1, 200), {shown},
            'sessions', substr(goal, 1, 200), {shown}, length({shown}) / 6 + 1
        FROM sessions WHERE {told}
    """  # noqa: S608 - constants
    op.execute(files)
    op.execute(chunks)
