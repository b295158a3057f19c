"""The store as its users see it: one object with a part for each kind of writing and reading."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import text

from session.context import USUAL, ContextPolicy
from session.policy import UNLIMITED, AdmissionPolicy
from store.admission import Admission
from store.approvals import Approvals
from store.audit import Audit
from store.bus import Bus, InProcessBus
from store.calls import Calls
from store.compactions import Compactions
from store.conversations import Conversations
from store.database import Database, StoreUnavailable, open_database
from store.endings import Endings
from store.facts import Facts
from store.follow_ups import FollowUps
from store.interjections import Interjections
from store.ledger import Ledgers
from store.line import Line
from store.memory import Memory
from store.memory_passages import Passages
from store.memory_sessions import MemorySessions
from store.memory_sync import MemorySync
from store.memory_vectors import Vectors
from store.prompts import Prompts
from store.retention import Retention
from store.sessions import Sessions
from store.shelves import Shelves
from store.starting import Starting
from store.steps import Steps
from store.toolsets import Toolsets
from store.transcript import Transcripts
from store.valkey import ValkeyBus

PING_SECONDS = 3.0
"""Less than a proxy waits for an answer about health (5 s in docker/haproxy.cfg)."""


@dataclass(frozen=True)
class Store:
    """Everything that lasts, and the bus that is told of it after each commit."""

    database: Database
    bus: Bus
    admission: Admission
    line: Line
    starting: Starting
    sessions: Sessions
    steps: Steps
    calls: Calls
    endings: Endings
    facts: Facts
    transcripts: Transcripts
    interjections: Interjections
    follow_ups: FollowUps
    compactions: Compactions
    prompts: Prompts
    conversations: Conversations
    approvals: Approvals
    shelves: Shelves
    toolsets: Toolsets
    audit: Audit
    retention: Retention
    memory: Memory
    memory_sync: MemorySync
    memory_sessions: MemorySessions
    passages: Passages
    vectors: Vectors

    @classmethod
    def over(
        cls,
        database: Database,
        bus: Bus,
        policy: AdmissionPolicy = UNLIMITED,
        context: ContextPolicy = USUAL,
    ) -> Store:
        ledgers = Ledgers(database)
        admission = Admission(database, policy)
        ledgers.announce = bus.publish_facts
        return cls(
            database=database,
            bus=bus,
            admission=admission,
            line=Line(ledgers, policy),
            starting=Starting(ledgers, admission, context),
            sessions=Sessions(ledgers),
            steps=Steps(ledgers),
            calls=Calls(ledgers),
            endings=Endings(ledgers, policy),
            facts=Facts(database),
            transcripts=Transcripts(database),
            interjections=Interjections(database),
            follow_ups=FollowUps(ledgers),
            compactions=Compactions(ledgers),
            prompts=Prompts(database),
            conversations=Conversations(database),
            approvals=Approvals(ledgers),
            shelves=Shelves(database),
            toolsets=Toolsets(database),
            audit=Audit(database),
            retention=Retention(database),
            memory=Memory(database),
            memory_sync=MemorySync(database),
            memory_sessions=MemorySessions(database),
            passages=Passages(database),
            vectors=Vectors(database),
        )

    async def ping(self) -> None:
        """Raises StoreUnavailable when the database does not answer within `PING_SECONDS`."""
        try:
            async with asyncio.timeout(PING_SECONDS), self.database.read() as connection:
                await connection.execute(text("SELECT 1"))
        except TimeoutError as error:
            raise StoreUnavailable("the store does not answer in time") from error

    async def close(self) -> None:
        await self.bus.close()
        await self.database.close()


def open_bus(url: str | None) -> Bus:
    """The bus that a setting names: Valkey's, or without one that of this process."""
    return InProcessBus() if url is None else ValkeyBus(url)


async def open_store(
    url: str,
    bus: Bus,
    clock: Callable[[], int] | None = None,
    policy: AdmissionPolicy = UNLIMITED,
    context: ContextPolicy = USUAL,
) -> Store:
    """Open the database at an async SQLAlchemy URL with its migrations applied. Raises StoreUnavailable."""
    database = await (open_database(url, clock) if clock else open_database(url))
    return Store.over(database, bus, policy, context)
