"""What sessions say that they cost, beside what the provider billed: sessions drawn by a seed, and all that goes wrong.

Of a reply that ends too early the provider tells the prompt, and one token of output; how much output it bills is never
told, so it can be in no account. Nor is the end of a reply that was on its way when a cancel closed its connection.
Both are counted apart; everything else must be the same to the token.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from bench import scripts
from bench.figures import Figure, figure
from bench.processes import scratch, scripted_model, serving
from bench.wire import ask, sent
from session.prices import cost
from session.usage import Usage

SESSIONS, QUICK_SESSIONS, SEED, TOGETHER = 200, 12, 7, 20
MODELS: Final = ("claude-sonnet-5-5", "claude-opus-5-5", "claude-sonnet-4-6", "claude-haiku-4-5", "claude-opus-4-5")
BUSY: Final[dict[str, Any]] = {"kind": "status", "code": 529, "retry_after": 0.02}
FAULTS: Final[tuple[dict[str, Any], ...]] = (
    BUSY,
    {"kind": "status", "code": 429, "retry_after": 0.05},
    {"kind": "status", "code": 500},
    {"kind": "error_event", "after_deltas": 3},
    {"kind": "cut", "after_deltas": 2},
    {"kind": "clean_cut", "after_deltas": 4},
    {"kind": "bad_tool_json"},
    {"kind": "lost_end"},
)
SETTINGS: Final = {"PERDURE_CONTEXT_WINDOW": "9000"}
"""So small that the longer sessions are compacted: the summaries are bought, too."""
Json = dict[str, Any]


async def measure(*, quick: bool = False) -> list[Figure]:
    count = QUICK_SESSIONS if quick else SESSIONS
    with scratch() as folder:
        scripts.prepare(folder / "workspaces")
        async with scripted_model(folder) as model, serving(model.url, folder, settings=SETTINGS) as service:
            free = asyncio.Semaphore(TOGETHER)

            async def one(number: int) -> Json:
                async with free:
                    return await _played(service.url, random.Random(f"{SEED}/{number}"))

            sessions = await asyncio.gather(*(one(number) for number in range(count)))
            asked = await ask(model.url, "GET", "/_fake/requests")
    return _compared(sessions, asked)


async def _played(url: str, chance: random.Random) -> Json:
    """A session to its end, some of them cancelled while the model speaks; as it then says it is."""
    model, *others = chance.sample(MODELS, 3)
    body: Json = {"content": scripts.message(*_turns(chance)), "workspace": scripts.FOLDER, "model": model}
    body["fallback"] = others
    if chance.random() < 0.2:
        body["maxBudget"] = chance.choice((2_000, 8_000))
    if chance.random() < 0.1:
        body["maxCostUsd"] = chance.choice((0.01, 0.05))
    session = (await ask(url, "POST", "/api/sessions", body))["session"]
    async with sent(url, "GET", f"/api/sessions/{session['id']}/events") as stream:
        if chance.random() < 0.15:
            await stream.until("step:start")
            await asyncio.sleep(chance.uniform(0, 0.4))
            async with sent(url, "POST", f"/api/sessions/{session['id']}/cancel", {}) as answer:
                await answer.over()
        await stream.over()
    told: Json = (await ask(url, "GET", f"/api/sessions/{session['id']}"))["session"]
    told["fallbacks"] = sum(frame.is_a("fallback") for frame in stream.frames)
    return told


def _turns(chance: random.Random) -> list[Json]:
    turns = []
    for _ in range(chance.randint(1, 5)):
        turn: Json = {"text": "I go on with it. " * chance.randint(1, 200), "tools": [scripts.READ]}
        turn |= {"chunk_chars": chance.choice((12, 40)), "token_ms": chance.choice((0, 0, 2))}
        if chance.random() < 0.5:
            turn["thinking"] = "I think of what to do next. " * chance.randint(1, 20)
        if chance.random() < 0.4:
            turn["faults"] = [BUSY] * 3 if chance.random() < 0.3 else chance.choices(FAULTS, k=chance.randint(1, 2))
        turns.append(turn)
    return [*turns, {"tools": [scripts.END]}]


def _compared(sessions: list[Json], asked: list[Json]) -> list[Figure]:
    """Per session: the sum of what it heard of its requests' bills, beside what it says."""
    day = datetime.now(UTC).date()
    mine: defaultdict[str, list[Json]] = defaultdict(list)
    for request in asked:
        mine[request["session"]].append(request)
    heard = {one["id"]: _heard(one, mine[one["id"]]) for one in sessions}
    usage = {session: sum(parts, Usage()) for session, parts in heard.items()}
    money = {
        session: sum(
            cost(request["request"]["model"], part, day) or 0.0
            for request, part in zip(mine[session], parts, strict=True)
        )
        for session, parts in heard.items()
    }
    wrong = [one for one in sessions if one["usage"] != usage[one["id"]].published()]
    dearer = [one for one in sessions if abs((one["cost"] or 0.0) - money[one["id"]]) > 1e-9]
    for one in wrong[:5]:
        print(f"WRONG  {one['id']} {one['stopReason']} {one['usage']}: {json.dumps(mine[one['id']][-2:])}")
    billed = sum((_usage(request["usage"]) for request in asked), Usage()).published()
    known = sum(usage.values(), Usage()).published()
    said = {kind: sum(one["usage"][kind] for one in sessions) for kind in billed}
    crossed = [one for one in sessions if mine[one["id"]] and heard[one["id"]][-1] != _told(mine[one["id"]][-1])]
    reported = sum(one["cost"] or 0.0 for one in sessions)
    return [
        figure("bill", "sessions", "", [len(sessions)]),
        *_counted(f"  as {one['stopReason']}" for one in sessions),
        figure("bill", "requests", "", [len(asked)]),
        *_counted(f"  {request['outcome']}" for request in asked),
        figure("bill", "  for summaries", "", [sum(request["script"] == "summary" for request in asked)]),
        figure("bill", "fallbacks", "", [sum(one["fallbacks"] for one in sessions)]),
        *(
            figure("bill", f"{kind}: {known[kind]:,} heard, {billed[kind]:,} billed; reported", "tokens", [said[kind]])
            for kind in billed
        ),
        figure("bill", f"cost: {sum(money.values()):.6f} of what was heard; reported", "USD", [reported]),
        figure("bill", "sessions whose tokens differ from what they heard", "", [len(wrong)], goal=0),
        figure("bill", "sessions whose cost differs from what they heard", "", [len(dearer)], goal=0),
        figure("bill", "last replies that crossed a cancel", "", [len(crossed)]),
    ]


def _counted(names: Iterable[str]) -> list[Figure]:
    return [figure("bill", name, "", [count]) for name, count in sorted(Counter(names).items())]


def _heard(one: Json, requests: list[Json]) -> list[Usage]:
    """What a session heard of its requests' bills: what it was told, but for the last one of a cancelled session. That
    one may have crossed the cancel: of it all was heard, the beginning, or nothing."""
    *before, last = [_told(request) for request in requests] or [Usage()]
    if one["stopReason"] == "cancelled" and requests:
        for part in (last, replace(last, output_tokens=min(1, last.output_tokens)), Usage()):
            if sum([*before, part], Usage()).published() == one["usage"]:
                return [*before, part]
    return [*before, last] if requests else []


def _told(request: Json) -> Usage:
    return _usage(request["told"])


def _usage(told: Json) -> Usage:
    return Usage(
        told["input_tokens"],
        told["output_tokens"],
        told["cache_read_input_tokens"],
        told["cache_creation_input_tokens"],
    )
