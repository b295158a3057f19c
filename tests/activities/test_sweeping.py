"""Jobs end with their session, also where it was closed elsewhere than on their worker."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from activities.sweeping import sweep
from activities.tools import TOOLS, ToolContext, call
from activities.tools.jobs import Jobs
from session.policy import CommandPolicy, ToolPolicy
from session.wire import Ending
from store import Store, open_database
from store.bus import InProcessBus
from tests.store.acting import Clock, new_session
from tests.tools.room import running, until


async def test_a_session_closed_by_somebody_else_takes_its_jobs_along_and_leaves_those_of_others(
    tmp_path: Path,
) -> None:
    store = Store.over(await open_database(f"sqlite:///{tmp_path}/perdure.db", Clock()), InProcessBus())
    jobs = Jobs()
    try:
        closed, going = [(await new_session(store, name)).id for name in ("closed", "going")]
        policy = ToolPolicy(commands=CommandPolicy("off"))
        for session_id, seconds in ((closed, "4711.01"), (going, "4711.02")):
            context = ToolContext(tmp_path / "room", session_id=session_id, jobs=jobs, policy=policy)
            await call(TOOLS["exec"], {"command": f"sleep {seconds}", "background": True}, context)
            await until(partial(running, f"sleep {seconds}"), 10)
        await sweep(jobs, store)
        assert set(jobs.sessions()) == {closed, going}
        await store.endings.close(closed, Ending("internalError"))
        await sweep(jobs, store)
        assert jobs.sessions() == [going]
        assert not running("sleep 4711.01") and running("sleep 4711.02")
    finally:
        await jobs.close()
        await store.close()
