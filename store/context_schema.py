"""The tables of what a model is told beside the task and the turns: see store/schema.py for the conventions."""

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Index, Integer, Table

from store.columns import LongText as _Text
from store.columns import Name as _Name
from store.schema import metadata

prompts = Table(
    "prompts",
    metadata,
    Column("session_id", _Name(64), ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("text", _Text, nullable=False),
)
"""The system prompt that a session began with: the same for every step, whatever changed since (and so cached)."""

interjections = Table(
    "interjections",
    metadata,
    Column("session_id", _Name(64), ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("kind", _Name(16), nullable=False),
    Column("message_id", _Name(64)),
    Column("content", _Text, nullable=False),
    Column("step", Integer),
    Column("created_ms", BigInteger, nullable=False),
)
"""What is said to a running session between two of its steps: a user's follow-up (`message_id` names its message) or a
request to repair the result. `step`: the first that sees it, put down when that step begins, NULL until then."""

compactions = Table(
    "compactions",
    metadata,
    Column("session_id", _Name(64), ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("conversation_id", _Name(128), nullable=False),
    Column("upto_seq", Integer),
    Column("summary", _Text, nullable=False),
    Column("model", _Text, nullable=False),
    Column("usage", _Text, nullable=False),
    Column("cost", Float),
    Column("tokens_before", Integer, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Index("compactions_of_conversation", "conversation_id", "upto_seq"),
)
"""Summaries that stand in the place of what the model saw before `step`, but for the session's own user message. One
made before the first step covers the conversation's messages up to `upto_seq`, also for later sessions."""
