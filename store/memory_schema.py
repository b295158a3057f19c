"""The tables of memory. Beside them each database has a search index of its own, `memory_words` (migration 0006), which
triggers keep in step with `memory_chunks`: a virtual table of FTS5, or a table of tsvectors."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    UniqueConstraint,
    text,
)

from store.columns import LongText as _Text
from store.columns import Name as _Name
from store.schema import metadata

_LIVE = text("live")


def _of(table: str, length: int) -> tuple[_Name, ForeignKey]:
    return _Name(length), ForeignKey(f"{table}.id", ondelete="CASCADE")


memory_files = Table(
    "memory_files",
    metadata,
    Column("id", _Name(64), primary_key=True),
    Column("path", _Name(1024), nullable=False),
    Column("source", _Name(16), nullable=False),
    Column("live", Boolean, nullable=False),
    Column("conversation_id", *_of("conversations", 128)),
    Column("session_id", *_of("sessions", 64)),
    Column("hash", _Name(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("lines", Integer, nullable=False),
    Column("chunks", Integer, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Index("memory_files_by_path", "path", unique=True, postgresql_where=_LIVE, sqlite_where=_LIVE),
    Index("memory_files_by_time", "created_ms", "id"),
    Index("memory_files_of_conversation", "conversation_id"),
    Index("memory_files_of_session", "session_id"),
)
"""`source`: a `file` of the memory folder, the `summary` of a session, the `note` that a conversation keeps. What is
not `live` is being written, or on its way out: it is neither found nor read."""

memory_chunks = Table(
    "memory_chunks",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", _Name(64), nullable=False, unique=True),
    Column("file_id", *_of("memory_files", 64), nullable=False),
    Column("start_line", Integer, nullable=False),
    Column("end_line", Integer, nullable=False),
    Column("heading", _Text, nullable=False),
    Column("text", _Text, nullable=False),
    Column("place_words", _Text, nullable=False),
    Column("heading_words", _Text, nullable=False),
    Column("text_words", _Text, nullable=False),
    Column("length", Integer, nullable=False),
    Index("memory_chunks_of_file", "file_id", "start_line"),
)
"""The columns of words are what is indexed (session.words); `length` counts them."""

memory_vectors = Table(
    "memory_vectors",
    metadata,
    Column(
        "number",
        Integer,
        ForeignKey("memory_chunks.number", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("model", _Name(200), nullable=False),
    Column("signs", LargeBinary, nullable=False),
    Column("vector", LargeBinary, nullable=False),
    Index("memory_vectors_of_model", "model", "number"),
)
"""`vector`: 32-bit floats, little-endian, of length 1. `signs`: a bit for each that is above 0."""

memory_sessions = Table(
    "memory_sessions",
    metadata,
    Column("id", _Name(64), primary_key=True),
    Column("name", _Text),
    Column("user_id", _Text),
    Column("conversation_id", *_of("conversations", 128)),
    Column("status", _Name(16), nullable=False),
    Column("tenant", _Name(255), nullable=False, default=""),
    Column("request_key", _Name(255)),
    Column("request_hash", _Name(64)),
    Column("created_ms", BigInteger, nullable=False),
    Column("archived_ms", BigInteger),
    UniqueConstraint("tenant", "request_key", name="memory_sessions_once"),
    Index("memory_sessions_by_time", "created_ms", "id"),
    Index("memory_sessions_of_conversation", "conversation_id"),
)

memory_links = Table(
    "memory_links",
    metadata,
    Column("memory_session_id", *_of("memory_sessions", 64), primary_key=True),
    Column("conversation_id", *_of("conversations", 128), primary_key=True),
    Index("memory_links_of_conversation", "conversation_id"),
)
"""The conversations of a memory session: the one it was made for, and those of sessions that named it."""

memory_passages = Table(
    "memory_passages",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("conversation_id", *_of("conversations", 128)),
    Column("memory_session_id", *_of("memory_sessions", 64)),
    Column("session_id", *_of("sessions", 64)),
    Column("path", _Name(1024), nullable=False),
    Column("start_line", Integer, nullable=False),
    Column("end_line", Integer, nullable=False),
    Column("text", _Text, nullable=False),
    Column("score", Float, nullable=False),
    Index("memory_passages_of_conversation", "conversation_id"),
    Index("memory_passages_of_memory_session", "memory_session_id"),
    Index("memory_passages_of_session", "session_id"),
)
"""What was picked for the next session of a conversation or of a memory session; then, with `session_id` alone, what
that session began with."""

memory_syncs = Table(
    "memory_syncs",
    metadata,
    Column("name", _Name(64), primary_key=True),
    Column("holder", _Name(64)),
    Column("until_ms", BigInteger, nullable=False),
    Column("synced_ms", BigInteger),
)
"""One row: who brings the index up to date just now, and when that was last done."""
