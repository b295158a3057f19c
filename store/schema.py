"""The tables. Times are Unix milliseconds; JSON is text, so that both databases keep it byte for byte as it was sent."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

conversations = Table(
    "conversations",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("title", Text),
    Column("preset_id", Text),
    Column("metadata", Text, nullable=False, default="{}"),
    Column("active_session_id", String(64)),
    Column("message_count", Integer, nullable=False, default=0),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Index("conversations_by_time", "created_ms", "id"),
)

messages = Table(
    "messages",
    metadata,
    Column("id", String(64), primary_key=True),
    Column(
        "conversation_id", String(128), ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False
    ),
    Column("seq", Integer, nullable=False),
    Column("role", String(16), nullable=False),
    Column("content", Text, nullable=False),
    Column("model", Text),
    Column("provider", Text),
    Column("session_id", String(64)),
    Column("usage", Text),
    Column("cost", Float),
    Column("created_ms", BigInteger, nullable=False),
    UniqueConstraint("conversation_id", "seq", name="messages_in_order"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column(
        "conversation_id", String(128), ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False
    ),
    Column("user_message_id", String(64), nullable=False),
    Column("message_id", String(64)),
    Column("original_session_id", String(64)),
    Column("tenant", Text, nullable=False, default=""),
    Column("status", String(16), nullable=False),
    Column("stop_reason", String(32)),
    Column("goal", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("effort", String(16), nullable=False),
    Column("max_steps", Integer, nullable=False),
    Column("max_budget", BigInteger),
    Column("max_cost_usd", Float),
    Column("show_thinking", Boolean, nullable=False),
    Column("security_mode", String(16), nullable=False),
    Column("settings", Text, nullable=False),
    Column("step", Integer, nullable=False, default=0),
    Column("attempt", Integer, nullable=False, default=0),
    Column("epoch_ms", BigInteger, nullable=False, default=0),
    Column("step_started_ms", BigInteger),
    Column("input_tokens", BigInteger, nullable=False, default=0),
    Column("output_tokens", BigInteger, nullable=False, default=0),
    Column("cache_read_tokens", BigInteger, nullable=False, default=0),
    Column("cache_write_tokens", BigInteger, nullable=False, default=0),
    Column("cost", Float),
    Column("summary", Text),
    Column("error", Text),
    Column("last_offset", Integer, nullable=False, default=0),
    Column("cancel_mode", String(16)),
    Column("cancel_reason", Text),
    Column("cancel_by", Text),
    Column("cancel_ms", BigInteger),
    Column("deadline_ms", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("queued_ms", BigInteger),
    Column("started_ms", BigInteger),
    Column("ended_ms", BigInteger),
    Index("sessions_by_time", "created_ms", "id"),
    Index("sessions_by_status", "status", "deadline_ms"),
    Index("sessions_by_conversation", "conversation_id", "created_ms"),
)

facts = Table(
    "facts",
    metadata,
    Column("session_id", String(64), ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("key", Text, nullable=False),
    Column("type", String(32), nullable=False),
    Column("frame", Text, nullable=False),
    UniqueConstraint("session_id", "key", name="facts_once"),
)
"""`position` is the fact's offset (OFFSET is a reserved word in SQL). `key` makes writing a fact twice impossible."""

turns = Table(
    "turns",
    metadata,
    Column("session_id", String(64), ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("blocks", Text, nullable=False),
    Column("calls", Text, nullable=False),
    Column("usage", Text, nullable=False),
    Column("cost", Float),
    Column("model", Text, nullable=False),
    Column("stop_reason", Text),
    Column("request_id", Text),
    Column("partial", Boolean, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

tool_calls = Table(
    "tool_calls",
    metadata,
    Column("session_id", String(64), ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("call_id", String(128), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("arguments", Text, nullable=False),
    Column("effect", String(16), nullable=False),
    Column("security_level", String(16), nullable=False),
    Column("status", String(16), nullable=False),
    Column("result", Text),
    Column("epoch_ms", BigInteger),
    Column("attempt", Integer),
    Column("started_ms", BigInteger),
    Column("duration_ms", Integer),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("tenant", String(255), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("request_hash", String(64), nullable=False),
    Column("session_id", String(64), ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)
