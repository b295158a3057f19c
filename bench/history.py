"""What Temporal keeps of a long session: 200 steps, each with a tool result of 100 KB (G7).

Sizes are those of the history's events as the server sends them. Words of the user, the model and the tool are looked
for in all of them: there must be none.
"""

from __future__ import annotations

from itertools import pairwise

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from bench import scripts
from bench.figures import Figure, figure
from bench.stand import Stand, WentWrong, session
from bench.wire import Frame
from session.wire import CALL_MODEL

STEPS = 200
AT = (10, 100, 200)
RESULT_BYTES = 100_000
FILES = 3
"""Read in turn, since the same call three times running ends a session."""
EVENT_LIMIT, BYTE_LIMIT = 51_200, 50 << 20
STEP_GOAL = 6_000
WORDS = {"user": "wordofuser", "model": "wordofmodel", "tool": "wordoftool"}


async def measure(stand: Stand) -> list[Figure]:
    steps = 20 if stand.quick else STEPS
    _write_files(stand)
    async with session(stand.service.url, _content(steps)) as stream:
        started = (await stream.until("session:start")).event
        await stream.whole()
    _check(stream.frames, steps)
    events = await _history(stand, started["data"]["sessionId"])
    seconds = (stream.ended_ns - stream.begun_ns) / 1e9
    return _figures(events, steps, seconds)


def _write_files(stand: Stand) -> None:
    """Letters of three bytes: the tool gives at most 48,000 characters at once."""
    line = f"{WORDS['tool']} {'字' * 330}\n"
    for number in range(FILES):
        text = f"file {number}\n" + line * (RESULT_BYTES // len(line.encode()) + 1)
        (stand.workspaces / scripts.FOLDER / f"large-{number}.txt").write_text(text)


def _content(steps: int) -> str:
    reads = [{"name": "read_file", "input": {"path": f"large-{number}.txt"}} for number in range(FILES)]
    turns = [{"text": WORDS["model"], "tools": [reads[at % FILES]]} for at in range(steps - 1)]
    return f"{WORDS['user']} {scripts.message(*turns, {'text': WORDS['model'], 'tools': [scripts.END]})}"


def _check(frames: list[Frame], steps: int) -> None:
    """The session was what it should be: all results large, all words said. Raises WentWrong."""
    sizes = [len(frame.data) for frame in frames if frame.is_a("tool:result")]
    said = b"".join(frame.data for frame in frames)
    unsaid = [word for word in WORDS.values() if word.encode() not in said]
    if len(sizes) != steps or min(sizes[:-1]) < RESULT_BYTES or unsaid:
        raise WentWrong(f"{len(sizes)} results from {min(sizes)} bytes, without {unsaid}: {frames[-1].data[:300]!r}")


async def _history(stand: Stand, session_id: str) -> list[HistoryEvent]:
    client = await Client.connect(stand.temporal)
    history = await client.get_workflow_handle(session_id).fetch_history()
    return list(history.events)


def _figures(events: list[HistoryEvent], steps: int, seconds: float) -> list[Figure]:
    sizes = _per_step(events)
    whole = sum(event.ByteSize() for event in events)
    content = b"".join(event.SerializeToString() for event in events)
    spoken = sum(content.count(word.encode()) for word in WORDS.values())
    return [
        *(
            figure("history", f"Temporal history of step {at}", "bytes", [sizes[at]], goal=STEP_GOAL)
            for at in AT
            if at <= steps
        ),
        figure("history", "largest step", "bytes", [max(sizes.values())], goal=STEP_GOAL),
        figure("history", f"whole history, {steps} steps", "bytes", [whole], goal=BYTE_LIMIT),
        figure("history", f"events, {steps} steps", "", [len(events)], goal=EVENT_LIMIT),
        figure("history", "words of the conversation in it", "", [spoken], goal=0),
        figure("history", f"session of {steps} steps", "s", [seconds]),
    ]


def _per_step(events: list[HistoryEvent]) -> dict[int, int]:
    """Bytes from a step's scheduled model call to the next one's (or to the history's end), workflow tasks included."""
    begins = [at for at, event in enumerate(events) if _scheduled(event) == CALL_MODEL]
    return {
        step: sum(event.ByteSize() for event in events[begin:end])
        for step, (begin, end) in enumerate(pairwise([*begins, len(events)]), start=1)
    }


def _scheduled(event: HistoryEvent) -> str:
    return event.activity_task_scheduled_event_attributes.activity_type.name
