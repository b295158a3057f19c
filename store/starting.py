"""Starting sessions: one transaction stores the user message, the session and its first facts, once per key."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from session.context import ContextPolicy, is_opening_due
from session.events import UserMessage
from session.models import card
from session.resources import Session
from session.start import SETTINGS, StartFields
from session.vocabulary import TERMINAL
from store.admission import Admission
from store.compactions import opening_size
from store.database import StoreConnection
from store.ledger import Ledger, Ledgers, NotFound, Transaction
from store.line import LineMoved, check_interrupted, check_room, lock_interrupted, tell_start, waiting_since
from store.memory_links import belong
from store.rows import session_of
from store.schema import conversations, idempotency_keys, messages
from store.sessions import ask_to_end, row_of

GOAL_CHARS = 500
TITLE_CHARS = 50


_KEPT_BY_RETRY = (
    "conversation_id",
    "user_message_id",
    "goal",
    "model",
    "provider",
    "effort",
    "max_steps",
    "max_budget",
    "max_cost_usd",
    "show_thinking",
    "security_mode",
    "settings",
    "opening_seq",
)


class Conflict(Exception):
    """The conversation has an active session already."""

    def __init__(self, session_id: str) -> None:
        super().__init__(session_id)
        self.session_id = session_id


class KeyReused(Exception):
    """The Idempotency-Key was used before with another request."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who starts a session, and under which Idempotency-Key (`request_hash` tells whether it is the same request)."""

    tenant: str = ""
    key: str | None = None
    request_hash: str = ""


@dataclass(frozen=True, slots=True)
class Started:
    """The row of a stored session. `is_new` is False when an Idempotency-Key brought back an earlier one.
    `interrupted`: the id of the one that was asked to end for it, and is to be told."""

    row: Mapping[str, Any]
    is_new: bool
    interrupted: str | None = None

    @property
    def session(self) -> Session:
        return session_of(self.row)


_Create = Callable[[Transaction], Awaitable[tuple[str, str | None]]]
"""Makes a session; its id, and that of the one that it interrupts."""


class Starting:
    """Starts sessions. A crash before the commit leaves nothing; after it the session is `created`, and a retry with
    the same key or the reconciler starts its workflow."""

    def __init__(self, ledgers: Ledgers, admission: Admission, context: ContextPolicy) -> None:
        self.ledgers = ledgers
        self.admission = admission
        self.context = context
        self.database = ledgers.database

    async def start(
        self, fields: StartFields, model: str, caller: Caller, conversation_id: str | None = None
    ) -> Started:
        """Store the user message, the session (`created`) and its first two facts; no conversation id makes one.

        Where the conversation has an active session, the new one waits in line if its `onConflict` says so, and has
        its second fact when its turn comes (store/line.py). Raises NotFound (conversation, memory session), Archived,
        Conflict (one active session per conversation), KeyReused, QueueFull.
        """

        async def create(transaction: Transaction) -> tuple[str, str | None]:
            connection, now = transaction.connection, transaction.now_ms
            conversation = conversation_id or await self._new_conversation(connection, now)
            ahead: list[Ledger] = []
            if fields.on_conflict == "interrupt":
                ahead = await lock_interrupted(transaction, conversation)
            session_id = self.database.new_id("sess")
            active = await self._claim(connection, conversation, session_id, now)
            if active is not None and fields.on_conflict == "reject":
                raise Conflict(active)
            if fields.on_conflict == "interrupt":
                await check_interrupted(connection, conversation, active, ahead)
                await self._interrupt(ahead, session_id, caller.tenant or "local")
            if active is not None:
                await check_room(connection, conversation, self.admission.policy)
            if fields.memory_session_id is not None:  # locked after the conversation, as everywhere
                await belong(connection, fields.memory_session_id, conversation)
            message_id, count = await self._say(connection, conversation, fields.content, session_id, now)
            values = self._row(fields, model, caller, now) | {
                "id": session_id,
                "conversation_id": conversation,
                "user_message_id": message_id,
                "on_conflict": fields.on_conflict,
            }
            if active is not None:
                values |= waiting_since(now)
            await self._create(connection, values, fields.content, count)
            return session_id, ahead[0].id if ahead else None

        return await self._once(caller, create)

    async def retry(self, session_id: str, caller: Caller) -> Started:
        """Store a new session from the same user message and settings.

        Raises NotFound, Conflict (also: not over), QueueFull.
        """

        async def create(transaction: Transaction) -> tuple[str, str | None]:
            connection, now = transaction.connection, transaction.now_ms
            original = await row_of(connection, session_id)
            if original["status"] not in TERMINAL:
                raise Conflict(session_id)
            new_id = self.database.new_id("sess")
            active = await self._claim(connection, original["conversation_id"], new_id, now)
            if active is not None:
                raise Conflict(active)
            query = select(messages.c.content, messages.c.seq).where(messages.c.id == original["user_message_id"])
            said = (await connection.execute(query)).one()
            timeout_ms = json.loads(original["settings"])["timeoutSeconds"] * 1000
            values = {name: original[name] for name in _KEPT_BY_RETRY} | {
                "id": new_id,
                "original_session_id": session_id,
                "tenant": caller.tenant,
                **_fresh(now, timeout_ms),
            }
            await self._create(connection, values, said.content, said.seq)
            return new_id, None

        return await self._once(caller, create)

    async def _once(self, caller: Caller, create: _Create) -> Started:
        """Run `create` in a write transaction unless the caller's key has a session; a lost race reads the winner's."""
        tried = False
        while True:
            try:
                async with self.ledgers.transaction() as transaction:
                    connection = transaction.connection
                    known = await known_session(connection, caller)
                    if known is not None:
                        return Started(await row_of(connection, known), is_new=False)
                    session_id, interrupted = await create(transaction)
                    await keep_key(connection, caller, session_id, self.database.clock())
                    return Started(await row_of(connection, session_id), True, interrupted)
            except LineMoved:
                continue
            except (IntegrityError, Conflict):  # the same request may have won, and made the conversation busy
                if tried or caller.key is None:
                    raise
                tried = True

    async def _new_conversation(self, connection: StoreConnection, now: int) -> str:
        conversation_id = self.database.new_id("conv")
        values = {"id": conversation_id, "metadata": "{}", "created_ms": now, "updated_ms": now}
        await connection.execute(insert(conversations).values(values))
        return conversation_id

    async def _claim(self, connection: StoreConnection, conversation_id: str, session_id: str, now: int) -> str | None:
        """Make the new session the conversation's only active one, or return the one that is; the conversation stays
        locked."""
        free = conversations.c.active_session_id.is_(None)
        claim = update(conversations).where(conversations.c.id == conversation_id, free)
        claim = claim.values(active_session_id=session_id, updated_ms=now)
        if (await connection.execute(claim)).rowcount:
            return None
        query = select(conversations.c.active_session_id).where(conversations.c.id == conversation_id)
        row = (await connection.execute(query.with_for_update())).first()
        if row is None:
            raise NotFound(f"no conversation {conversation_id}")
        if row.active_session_id is None:  # it became free in between
            await connection.execute(claim)
            return None
        return str(row.active_session_id)

    async def _interrupt(self, ahead: Sequence[Ledger], session_id: str, by: str) -> None:
        """Ask the active session to end, and end those that wait to interrupt it: what was asked last counts."""
        for ledger in ahead:
            await ask_to_end(ledger, "now", f"interrupted by {session_id}", by, self.database.new_id("msg"))

    async def _say(
        self, connection: StoreConnection, conversation_id: str, content: str, session_id: str, now: int
    ) -> tuple[str, int]:
        message_id = self.database.new_id("msg")
        query = select(conversations.c.message_count, conversations.c.title)
        row = (await connection.execute(query.where(conversations.c.id == conversation_id))).one()
        count = row.message_count + 1
        changes = {"message_count": count, "title": row.title or content[:TITLE_CHARS], "updated_ms": now}
        await connection.execute(update(conversations).where(conversations.c.id == conversation_id).values(changes))
        values = {"id": message_id, "conversation_id": conversation_id, "seq": count, "role": "user"}
        values |= {"content": content, "session_id": session_id, "created_ms": now}
        await connection.execute(insert(messages).values(values))
        return message_id, count

    def _row(self, fields: StartFields, model: str, caller: Caller, now: int) -> dict[str, Any]:
        return {
            "tenant": caller.tenant,
            "goal": fields.content[:GOAL_CHARS],
            "model": model,
            "provider": fields.provider,
            "effort": fields.effort,
            "max_steps": fields.step_budget,
            "max_budget": fields.max_budget,
            "max_cost_usd": fields.max_cost_usd,
            "show_thinking": fields.show_thinking,
            "security_mode": fields.security_mode,
            "settings": fields.model_dump_json(by_alias=True, include=set(SETTINGS)),
            **_fresh(now, fields.timeout_seconds * 1000),
        }

    async def _create(self, connection: StoreConnection, values: dict[str, Any], content: str, count: int) -> None:
        has_to_wait = "waits_since_ms" in values
        if not has_to_wait:
            asked = (connection, values["id"], values["tenant"], values["created_ms"])
            values["admitted_ms"] = await self.admission.ask(*asked)
        compacted = count > 1 and await self._begins_compacted(connection, values, content, count)
        values["compacted_step"] = 0 if compacted else None
        async with self.ledgers.create(connection, values) as ledger:
            said = UserMessage(
                id=values["user_message_id"], content=content, compaction_applied=compacted, message_count=count
            )
            ledger.append("user_message", said)
            if not has_to_wait:
                await tell_start(ledger)

    async def _begins_compacted(
        self, connection: StoreConnection, values: dict[str, Any], content: str, count: int
    ) -> bool:
        """Whether a summary stands for the conversation's earlier messages, or is to before the first step."""
        has_summary, size = await opening_size(connection, values, count)
        limit = self.context.limit(card(values["model"]))
        return has_summary or is_opening_due(size + len(content.encode()), limit)


def _fresh(now: int, timeout_ms: int) -> dict[str, Any]:
    return {"status": "created", "created_ms": now, "deadline_ms": now + timeout_ms}


async def known_session(connection: StoreConnection, caller: Caller) -> str | None:
    """The session that this request of the caller's is about already, by its key. Raises KeyReused."""
    if caller.key is None:
        return None
    query = select(idempotency_keys.c.session_id, idempotency_keys.c.request_hash).where(
        idempotency_keys.c.tenant == caller.tenant, idempotency_keys.c.key == caller.key
    )
    row = (await connection.execute(query)).first()
    if row is None:
        return None
    if row.request_hash != caller.request_hash:
        raise KeyReused("this Idempotency-Key was used before with another request")
    return str(row.session_id)


async def keep_key(connection: StoreConnection, caller: Caller, session_id: str, now: int) -> None:
    """Put down which session the caller's key, if any, is about. Raises IntegrityError when somebody was faster."""
    if caller.key is not None:
        known = {"tenant": caller.tenant, "key": caller.key, "request_hash": caller.request_hash}
        query = insert(idempotency_keys).values(**known, session_id=session_id, created_ms=now)
        await connection.execute(query)
