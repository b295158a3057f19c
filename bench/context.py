"""What context compaction keeps and saves: `python -m bench.context`.

A session of sixty steps reads a file of some 4 KB at each. The first file holds a fact, and the last reply tells what
is still known of it: the scripted model writes its summaries and that reply from what it is sent and nothing else. It
is played once with the model's own window, where nothing is compacted, and once where the window is small and the
scripted model refuses what is longer, as the provider does.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench import scripts
from bench.processes import scratch, scripted_model, serving
from bench.stand import WentWrong, run_session
from bench.wire import ask

STEPS: Final = 60
WINDOW: Final = 24_000
"""Tokens: a quarter of it are the tools and the system prompt."""
FACT: Final = "the harbour is called Heron 42"
READ: Final[dict[str, Any]] = {"name": "read_file", "input": {"path": "page-{n}.txt"}}
TELL: Final[dict[str, Any]] = {"name": "complete_task", "input": {"summary": "{facts}"}}
SUMMARY: Final = "summary"
"""The name of the script that the scripted model plays for summaries."""
BAD_REQUEST: Final = 400


@dataclass(frozen=True)
class Seen:
    """What the scripted model was asked in one session, and what the session said at its end."""

    answer: str
    cost: float
    seconds: float
    refusals: list[str]
    prompts: list[int]
    written: int
    summaries: int
    read_from_cache: int

    @property
    def orphans(self) -> int:
        """Requests that were refused because a tool call and its result were not together."""
        return sum("tool_use" in refusal or "tool_result" in refusal for refusal in self.refusals)


def write_pages(folder: Path, steps: int) -> None:
    folder.mkdir(parents=True)
    for number in range(1, steps + 1):
        head = f"FACT: {FACT}\n" if number == 1 else ""
        lines = "".join(f"page {number}, line {line}: nothing of interest here\n" for line in range(85))
        (folder / f"page-{number}.txt").write_text(head + lines)


def task(steps: int) -> str:
    thought = {"thinking": "On to page {n}.", "text": "Next."}
    return scripts.message({**thought, "tools": [READ], "times": steps - 1}, {**thought, "tools": [TELL]})


async def play(window: int | None, steps: int = STEPS) -> Seen:
    """One session over a service of its own."""
    options = () if window is None else ("--window", str(window))
    settings = {} if window is None else {"PERDURE_CONTEXT_WINDOW": str(window)}
    with scratch() as data_dir:
        await asyncio.to_thread(write_pages, data_dir / "workspaces" / scripts.FOLDER, steps)
        async with (
            scripted_model(data_dir, *options) as model,
            serving(model.url, data_dir, settings=settings) as service,
        ):
            run = await run_session(service.url, task(steps), maxSteps=steps)
            session = (await ask(service.url, "GET", f"/api/sessions/{run.session_id}"))["session"]
            requests = await ask(model.url, "GET", "/_fake/requests")
    if session["step"] != steps:
        raise WentWrong(f"the session ended after {session['step']} steps: {json.dumps(session)[:500]}")
    usages = [request["usage"] for request in requests]
    return Seen(
        answer=session["summary"],
        cost=session["cost"],
        seconds=run.total_ms / 1000,
        refusals=[request["error"] for request in requests if request["status"] == BAD_REQUEST],
        prompts=[sum(usage.values()) - usage["output_tokens"] for usage in usages],
        written=sum(usage["output_tokens"] for usage in usages),
        summaries=sum(request["script"] == SUMMARY for request in requests),
        read_from_cache=sum(usage["cache_read_input_tokens"] for usage in usages),
    )


ROWS: Final[dict[str, Callable[[Seen], str]]] = {
    "answered with 400": lambda seen: f"{len(seen.refusals)}",
    "… for a call apart from its result": lambda seen: f"{seen.orphans}",
    "the answer has the fact of step 1": lambda seen: "yes" if FACT in seen.answer else "no",
    "compactions": lambda seen: f"{seen.summaries}",
    "longest prompt, tokens": lambda seen: f"{max(seen.prompts):,}",
    "tokens sent": lambda seen: f"{sum(seen.prompts):,}",
    "… of these read from the cache": lambda seen: f"{seen.read_from_cache:,}",
    "tokens written": lambda seen: f"{seen.written:,}",
    "cost, US dollars": lambda seen: f"{seen.cost:.3f}",
    "the session took": lambda seen: f"{seen.seconds:.1f} s",
}


def table(without: Seen, within: Seen) -> str:
    rows = [(name, show(without), show(within)) for name, show in ROWS.items()]
    head = [(f"a session of {STEPS} steps", "the model's window", f"a window of {WINDOW:,} tokens"), ("---",) * 3]
    return "\n".join(f"| {' | '.join(line)} |" for line in [*head, *rows])


async def main() -> None:
    without, within = await play(None), await play(WINDOW)
    print(table(without, within))
    if within.refusals or FACT not in within.answer:
        raise WentWrong(f"compaction lost something: {within.answer!r}, {within.refusals[:3]}")


if __name__ == "__main__":
    asyncio.run(main())
