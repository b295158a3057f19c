"""The tables. Times are Unix milliseconds; JSON is text, so that both databases keep it as it was sent."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    UniqueConstraint,
    text,
)

from store.columns import LongText as _Text
from store.columns import Name as _Name

metadata = MetaData()

conversations = Table(
    "conversations",
    metadata,
    Column("id", _Name(128), primary_key=True),
    Column("title", _Text),
    Column("preset_id", _Text),
    Column("metadata", _Text, nullable=False, default="{}"),
    Column("active_session_id", _Name(64)),
    Column("message_count", Integer, nullable=False, default=0),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Index("conversations_by_time", "created_ms", "id"),
)

messages = Table(
    "messages",
    metadata,
    Column("id", _Name(64), primary_key=True),
    Column("conversation_id", _Name(128), ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("role", _Name(16), nullable=False),
    Column("content", _Text, nullable=False),
    Column("model", _Text),
    Column("provider", _Text),
    Column("session_id", _Name(64)),
    Column("usage", _Text),
    Column("cost", Float),
    Column("created_ms", BigInteger, nullable=False),
    UniqueConstraint("conversation_id", "seq", name="messages_in_order"),
)

_IN_LINE = text("admitted_ms IS NULL AND ended_ms IS NULL")
_BEHIND = text("waits_since_ms IS NOT NULL")

sessions = Table(
    "sessions",
    metadata,
    Column("id", _Name(64), primary_key=True),
    Column("conversation_id", _Name(128), ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
    Column("user_message_id", _Name(64), nullable=False),
    Column("message_id", _Name(64)),
    Column("original_session_id", _Name(64)),
    Column("tenant", _Text, nullable=False, default=""),
    Column("status", _Name(16), nullable=False),
    Column("stop_reason", _Name(32)),
    Column("goal", _Text, nullable=False),
    Column("model", _Text, nullable=False),
    Column("provider", _Text, nullable=False),
    Column("effort", _Name(16), nullable=False),
    Column("max_steps", Integer, nullable=False),
    Column("max_budget", BigInteger),
    Column("max_cost_usd", Float),
    Column("show_thinking", Boolean, nullable=False),
    Column("security_mode", _Name(16), nullable=False),
    Column("settings", _Text, nullable=False),
    Column("toolset", _Name(64)),
    Column("home", _Name(64)),
    Column("step", Integer, nullable=False, default=0),
    Column("attempt", Integer, nullable=False, default=0),
    Column("epoch_ms", BigInteger, nullable=False, default=0),
    Column("step_started_ms", BigInteger),
    Column("input_tokens", BigInteger, nullable=False, default=0),
    Column("output_tokens", BigInteger, nullable=False, default=0),
    Column("cache_read_tokens", BigInteger, nullable=False, default=0),
    Column("cache_write_tokens", BigInteger, nullable=False, default=0),
    Column("cost", Float),
    Column("summary", _Text),
    Column("error", _Text),
    Column("failure", _Text),
    Column("last_offset", Integer, nullable=False, default=0),
    Column("cancel_mode", _Name(16)),
    Column("cancel_reason", _Text),
    Column("cancel_by", _Text),
    Column("cancel_ms", BigInteger),
    Column("deadline_ms", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("queued_ms", BigInteger),
    Column("admitted_ms", BigInteger),
    Column("started_ms", BigInteger),
    Column("ended_ms", BigInteger),
    Column("on_conflict", _Name(16)),
    Column("waits_since_ms", BigInteger),
    Column("opening_seq", Integer),
    Column("interjected", Integer),
    Column("compacted_step", Integer),
    Column("fallback_model", _Text),
    Column("result", _Text),
    Column("result_error", _Text),
    Index("sessions_by_time", "created_ms", "id"),
    Index("sessions_by_status", "status", "deadline_ms"),
    Index("sessions_by_conversation", "conversation_id", "created_ms"),
    Index("sessions_in_line", "tenant", "created_ms", "id", postgresql_where=_IN_LINE, sqlite_where=_IN_LINE),
    Index("sessions_behind_others", "conversation_id", postgresql_where=_BEHIND, sqlite_where=_BEHIND),
)

facts = Table(
    "facts",
    metadata,
    Column("session_id", _Name(64), ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("key", _Text, nullable=False),
    Column("type", _Name(32), nullable=False),
    Column("frame", _Text, nullable=False),
    UniqueConstraint("session_id", "key", name="facts_once"),
)
"""`position` is the fact's offset (OFFSET is a reserved word in SQL). `key` makes writing a fact twice impossible."""

turns = Table(
    "turns",
    metadata,
    Column("session_id", _Name(64), ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("blocks", _Text, nullable=False),
    Column("calls", _Text, nullable=False),
    Column("usage", _Text, nullable=False),
    Column("cost", Float),
    Column("model", _Text, nullable=False),
    Column("stop_reason", _Text),
    Column("request_id", _Text),
    Column("partial", Boolean, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

tool_calls = Table(
    "tool_calls",
    metadata,
    Column("session_id", _Name(64), ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("call_id", _Name(128), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("name", _Text, nullable=False),
    Column("arguments", _Text, nullable=False),
    Column("shown", _Text),
    Column("effect", _Name(16), nullable=False),
    Column("security_level", _Name(16), nullable=False),
    Column("refusal", _Text),
    Column("status", _Name(16), nullable=False),
    Column("result", _Text),
    Column("epoch_ms", BigInteger),
    Column("attempt", Integer),
    Column("started_ms", BigInteger),
    Column("duration_ms", Integer),
)

"""`shown`: the arguments as they may be shown, where that is not as they are (secrets masked). `refusal`: why the call
must not run, decided when its reply was recorded."""

toolsets = Table(
    "toolsets",
    metadata,
    Column("digest", _Name(64), primary_key=True),
    Column("tools", _Text, nullable=False),
    Column("seen_ms", BigInteger, nullable=False),
)
"""What workers offered: a session keeps the digest of the set that it began with."""

approvals = Table(
    "approvals",
    metadata,
    Column("id", _Name(64), primary_key=True),
    Column("session_id", _Name(64), ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False),
    Column("conversation_id", _Name(128), nullable=False),
    Column("step", Integer, nullable=False),
    Column("call_id", _Name(128), nullable=False),
    Column("name", _Text, nullable=False),
    Column("shown", _Text, nullable=False),
    Column("security_level", _Name(16), nullable=False),
    Column("status", _Name(16), nullable=False),
    Column("decision", _Name(16)),
    Column("by", _Text),
    Column("reason", _Text),
    Column("arguments", _Text),
    Column("expires_ms", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Index("approvals_by_status", "status", "created_ms", "id"),
    Index("approvals_of_call", "session_id", "step", "call_id"),
)
"""`arguments`: what the one who approved put in the place of the model's."""

decisions = Table(
    "decisions",
    metadata,
    Column("id", _Name(64), primary_key=True),
    Column("approval_id", _Name(64), ForeignKey("approvals.id", ondelete="CASCADE"), nullable=False),
    Column("decision", _Name(16), nullable=False),
    Column("by", _Text, nullable=False),
    Column("reason", _Text),
    Column("arguments", _Text),
    Column("created_ms", BigInteger, nullable=False),
    Index("decisions_of_approval", "approval_id"),
)
"""Decisions as they were sent, before it is known which one wins: their content does not pass through Temporal."""

grants = Table(
    "grants",
    metadata,
    Column("conversation_id", _Name(128), ForeignKey("conversations.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", _Name(64), primary_key=True),
    Column("pattern", _Text, nullable=False),
    Column("by", _Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)
"""What was allowed always, in a conversation."""

outputs = Table(
    "outputs",
    metadata,
    Column("session_id", _Name(64), ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("call_id", _Name(128), primary_key=True),
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("text", _Text, nullable=False),
)
"""The whole of results that were too long to show, in pieces; `start` is a piece's first character."""

notes = Table(
    "notes",
    metadata,
    Column("conversation_id", _Name(128), ForeignKey("conversations.id", ondelete="CASCADE"), primary_key=True),
    Column("name", _Name(64), primary_key=True),
    Column("text", _Text, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
)
"""What tools keep for later calls in the same conversation, the to-do list among it."""

workspaces = Table(
    "workspaces",
    metadata,
    Column("name", _Text, primary_key=True),
    Column("home", _Name(64), nullable=False),
)

removals = Table(
    "removals",
    metadata,
    Column("conversation_id", _Name(128), primary_key=True),
    Column("removed_ms", BigInteger, nullable=False),
    Index("removals_by_time", "removed_ms"),
)
"""Conversations that were removed: by these workers know which of the folders that they made may go."""

audit = Table(
    "audit",
    metadata,
    Column("id", _Name(64), primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("kind", _Name(16), nullable=False),
    Column("by", _Text, nullable=False),
    Column("tenant", _Text, nullable=False),
    Column("session_id", _Name(64), nullable=False),
    Column("conversation_id", _Name(128), nullable=False),
    Column("step", Integer),
    Column("call_id", _Name(128)),
    Column("tool", _Name(200)),
    Column("arguments", _Text),
    Column("effect", _Name(16)),
    Column("security_level", _Name(16)),
    Column("attempt", Integer),
    Column("status", _Name(16)),
    Column("duration_ms", Integer),
    Column("preview", _Text),
    Index("audit_by_time", "at_ms", "id"),
    Index("audit_of_session", "session_id", "at_ms", "id"),
)
"""Append-only: a trigger refuses changes. Its rows stay when a conversation is deleted."""

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("tenant", _Name(255), primary_key=True),
    Column("key", _Name(255), primary_key=True),
    Column("request_hash", _Name(64), nullable=False),
    Column("session_id", _Name(64), ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Index("idempotency_keys_of_session", "session_id"),
)
