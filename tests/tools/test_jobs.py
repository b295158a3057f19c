"""Jobs: commands in the background, read and killed by their handle, dead with their session and with their worker."""

import asyncio
import dataclasses
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from activities.tools import TOOLS, ToolContext, ToolError, call
from activities.tools.jobs import RUNNING_AT_ONCE, Jobs
from session.masking import Masker
from tests.tools.room import CONFINED, Room, running, until

WORKER = """
import asyncio, sys
from pathlib import Path
from activities.tools import TOOLS, ToolContext, call
from activities.tools.jobs import Jobs

async def main(workspace, command):
    context = ToolContext(Path(workspace), session_id="sess_1", jobs=Jobs())
    print((await call(TOOLS["exec"], {"command": command, "background": True}, context)).content, flush=True)
    await asyncio.sleep(60)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture(params=CONFINED)
def room(request: pytest.FixtureRequest, tmp_path: Path) -> Room:
    return Room(tmp_path, request.param)


@pytest.fixture
async def context(room: Room) -> AsyncIterator[ToolContext]:
    jobs = Jobs()
    yield room.context(session_id="sess_1", call_id="toolu_1", jobs=jobs)
    await jobs.close()


async def say(context: ToolContext, name: str, **arguments: Any) -> str:
    return (await call(TOOLS[name], arguments, context)).content


async def begun(context: ToolContext, command: str, **arguments: Any) -> str:
    """The handle of a job that was started."""
    told = await say(context, "exec", command=command, background=True, **arguments)
    found = re.match(r"handle: (job_[0-9a-f]+) · sandbox: (limits|bubblewrap)\n", told)
    assert found is not None
    return found.group(1)


async def up(context: ToolContext, sleep: str) -> str:
    """The handle of a job whose processes, one of them detached, are all there."""
    handle = await begun(
        context, f"setsid {sleep} & until pgrep -f '^{sleep}' > /dev/null; do :; done; echo up; {sleep}"
    )
    while not (await say(context, "exec_output", handle=handle)).startswith("up\n"):
        await asyncio.sleep(0.005)
    return handle


async def test_a_job_answers_at_once_and_runs_on(room: Room, context: ToolContext) -> None:
    handle = await begun(context, "echo one; until [ -e go ]; do sleep 0.01; done; echo two")
    running_still = f"{handle} is running · sandbox: {room.sandbox} · next offset: 4"
    while (shown := await say(context, "exec_output", handle=handle)) != f"one\n{running_still}":
        assert shown.endswith("next offset: 0")
    assert await say(context, "exec_output", handle=handle, offset=4) == running_still
    room.file("go")
    shown = await say(context, "exec_output", handle=handle, offset=4, wait=10)
    assert shown == f"two\n{handle} has ended · {room.ended(0)} · next offset: 8"
    assert (await say(context, "exec_output", handle=handle)).startswith("one\ntwo\n")


async def test_waiting_ends_with_the_job(context: ToolContext) -> None:
    handle = await begun(context, "sleep 0.2; exit 3")
    began = time.monotonic()
    assert "has ended · exit code: 3" in await say(context, "exec_output", handle=handle, wait=30)
    assert time.monotonic() - began < 10


async def test_a_killed_job_is_dead_with_all_it_started_and_can_be_killed_again(
    context: ToolContext, sleep: str
) -> None:
    handle = await up(context, sleep)
    assert f"{handle} has ended · KILLED" in await say(context, "exec_kill", handle=handle)
    assert running(sleep) == []
    assert "nothing was left to kill" in await say(context, "exec_kill", handle=handle)
    assert (await say(context, "exec_output", handle=handle)).startswith("up\n")


async def test_all_jobs_of_a_session_die_with_it_and_no_others(room: Room, context: ToolContext, sleep: str) -> None:
    other = dataclasses.replace(context, session_id="sess_2")
    ours = [await up(context, sleep) for _ in range(2)]
    theirs = await begun(other, "until [ -e go ]; do sleep 0.01; done")
    assert context.jobs is not None
    await context.jobs.end_session("sess_1")
    await context.jobs.end_session("sess_1")
    assert running(sleep) == []
    for handle in ours:
        with pytest.raises(ToolError) as caught:
            await say(context, "exec_output", handle=handle)
        assert caught.value.code == "JOB_LOST"
    room.file("go")
    assert "exit code: 0" in await say(other, "exec_output", handle=theirs, wait=10)


async def test_a_job_is_not_known_to_another_session(context: ToolContext) -> None:
    handle = await begun(context, "sleep 5")
    other = dataclasses.replace(context, session_id="sess_2")
    for name in ("exec_output", "exec_kill"):
        with pytest.raises(ToolError) as caught:
            await say(other, name, handle=handle)
        assert caught.value.code == "JOB_LOST"


async def test_a_job_ends_at_its_own_limit_and_at_the_sessions_deadline(context: ToolContext, sleep: str) -> None:
    own = await begun(context, sleep, timeout=0.3)
    near = dataclasses.replace(context, deadline_ms=round((time.time() + 0.5) * 1000))
    near_by = await begun(near, sleep)
    for handle in (own, near_by):
        assert f"{handle} has ended · TIMEOUT" in await say(context, "exec_output", handle=handle, wait=10)
    assert running(sleep) == []


async def test_a_session_has_so_many_jobs_at_once(context: ToolContext) -> None:
    handles = [await begun(context, "sleep 60") for _ in range(RUNNING_AT_ONCE)]
    with pytest.raises(ToolError) as caught:
        await begun(context, "sleep 60")
    assert caught.value.code == "TOO_MANY_JOBS"
    await say(context, "exec_kill", handle=handles[0])
    await begun(context, "sleep 60")


async def test_all_dies_with_the_worker(room: Room, context: ToolContext, sleep: str) -> None:
    await up(context, sleep)
    assert context.jobs is not None
    await context.jobs.close()
    assert running(sleep) == []


async def test_all_dies_with_a_worker_that_was_killed(tmp_path: Path, sleep: str) -> None:
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WORKER, str(tmp_path), f"setsid {sleep} & (setsid sh -c '{sleep} &' &); {sleep}"),
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
    )
    assert worker.stdout is not None
    assert (await worker.stdout.readline()).startswith(b"handle: job_")
    await until(lambda: len([pid for pid in running(sleep) if pid != worker.pid]) >= 4, 5)
    worker.send_signal(signal.SIGKILL)
    await worker.wait()
    await until(lambda: not running(sleep), 2)
    await worker.communicate()


async def test_what_a_job_writes_is_masked_also_in_pieces(context: ToolContext) -> None:
    secret = "sk-precious-0123456789"
    masked = dataclasses.replace(context, masker=Masker((secret,)))
    handle = await begun(masked, f"printf %s {secret[:9]}; sleep 0.1; echo {secret[9:]}; echo done")
    shown = await say(masked, "exec_output", handle=handle, wait=10)
    assert "precious" not in shown
    assert "[secret" in shown and "\ndone\n" in shown


async def test_long_output_of_a_job_is_read_in_turns(context: ToolContext) -> None:
    handle = await begun(context, "seq 1 20000")
    text, offset = "", 0
    while True:
        shown = await say(context, "exec_output", handle=handle, offset=offset, wait=10)
        body, _, last = shown.rpartition("\n")
        found = re.search(r"next offset: (\d+)", last)
        assert found is not None
        text += (body + "\n")[: int(found.group(1)) - offset]
        offset = int(found.group(1))
        if "there is more" not in last:
            break
    assert text == "".join(f"{n}\n" for n in range(1, 20001))


async def test_without_a_place_for_jobs_background_is_refused(room: Room) -> None:
    assert (await room.refused("exec", command="true", background=True)).code == "NO_BACKGROUND"
    assert (await room.refused("exec_output", handle="job_1")).code == "JOB_LOST"
