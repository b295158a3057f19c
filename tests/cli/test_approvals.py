"""A person at a terminal sees what waits, and decides it, with the real commands against a real server."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from pydantic import SecretStr

from cli.roles import whole_service
from fake_model.serve import running
from settings import Settings
from tests.support.turns import calls, completes, script

ROOT = Path(__file__).parents[2]
FOLLOW_UP = script(completes("Heard."), task="Another thing.")
TASK = script(calls(("write_file", {"path": "a.txt", "content": "x"})), completes("Written."))


async def perdure(*arguments: str, url: str) -> asyncio.subprocess.Process:
    environment = {"PATH": os.environ["PATH"], "PERDURE_URL": url, "PYTHONPATH": str(ROOT), "COLUMNS": "300"}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli.main", *arguments),
        env=environment,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def said(*arguments: str, url: str) -> str:
    process = await perdure(*arguments, url=url)
    told, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, told.decode()
    return told.decode()


async def test_a_run_that_asks_is_decided_from_another_terminal(tmp_path: Path) -> None:
    async with running() as fake:
        settings = Settings(
            data_dir=tmp_path, port=0, anthropic_api_key=SecretStr("sk-test"), anthropic_base_url=fake.url
        )
        async with whole_service(settings) as service:
            watching = await perdure("run", TASK, "--mode", "ask", url=service.url)
            assert watching.stdout is not None
            line = ""
            async with asyncio.timeout(30):
                while "waits for an approval" not in line:
                    line = (await watching.stdout.readline()).decode()
            approval = next(word for word in line.split() if word.startswith("appr_"))
            assert approval in await said("approvals", "ls", url=service.url)
            assert await said("approvals", "decide", approval, "allow-once", url=service.url) == "approved\n"
            rest, _ = await asyncio.wait_for(watching.communicate(), 30)
            assert "Written." in rest.decode() and watching.returncode == 0


async def test_what_is_said_from_another_terminal_is_heard(tmp_path: Path) -> None:
    async with running() as fake:
        settings = Settings(
            data_dir=tmp_path, port=0, anthropic_api_key=SecretStr("sk-test"), anthropic_base_url=fake.url
        )
        async with whole_service(settings) as service:
            watching = await perdure("run", TASK, "--mode", "ask", url=service.url)
            assert watching.stdout is not None
            session_id = line = (await watching.stdout.readline()).decode().strip()
            async with asyncio.timeout(30):
                while "waits for an approval" not in line:
                    line = (await watching.stdout.readline()).decode()
            saying = await perdure("sessions", "say", session_id, FOLLOW_UP, url=service.url)
            assert saying.stdout is not None
            await asyncio.wait_for(saying.stdout.readline(), 30)  # it was said, and the watching has begun
            approval = next(word for word in line.split() if word.startswith("appr_"))
            await said("approvals", "decide", approval, "deny", url=service.url)
            for process in (watching, saying):
                rest, _ = await asyncio.wait_for(process.communicate(), 30)
                assert "Heard." in rest.decode() and process.returncode == 0
