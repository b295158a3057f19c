"""The README's commands do what it says: its curl lines are run, as they stand, against the demo's service."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from pathlib import Path

from pydantic import SecretStr

from cli.demonstration import curl_lines
from cli.roles import whole_service
from fake_model.serve import running as scripted_model
from settings import Settings

README = (Path(__file__).parent.parent / "README.md").read_text()
NOT_RUN = "<!-- not run by the test"


def blocks() -> list[str]:
    """The shell blocks that are not marked as left out."""
    found = re.finditer(r"(?:^(<!--[^\n]*-->)\n)?^```sh\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    return [match[2] for match in found if not (match[1] or "").startswith(NOT_RUN)]


def commands(block: str) -> list[str]:
    """The commands of a block, with their continued lines."""
    return [line for line in re.sub(r"\\\n\s*", "", block).splitlines() if line.strip()]


async def run(command: str) -> str:
    done = await asyncio.to_thread(
        subprocess.run, ["bash", "-c", command], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


async def test_the_first_steps_work_as_written(tmp_path: Path) -> None:
    (first_steps,) = blocks()
    async with scripted_model() as model:
        settings = Settings(
            data_dir=tmp_path, port=0, anthropic_api_key=SecretStr("demo"), anthropic_base_url=model.url
        )
        async with whole_service(settings) as service:
            made, stream, read = [
                await run(command.replace("http://127.0.0.1:3000", service.url)) for command in commands(first_steps)
            ]
    assert json.loads(made)["conversation"]["id"] == "conv_01"
    frames = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: ")]
    assert [frame["type"] for frame in frames[:2]] == ["user_message", "session:start"]
    assert [frame["type"] for frame in frames[-3:]] == ["summary", "complete", "message_saved"]
    messages = json.loads(read)["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant"]
    assert any(call["status"] == "success" for call in messages[1]["toolCalls"])
    assert (tmp_path / "workspaces" / "conv_01" / "hello.py").is_file()


def test_the_demo_prints_the_same_three_calls() -> None:
    (first_steps,) = blocks()
    spaced = [re.sub(r"\s+", " ", command) for command in commands(first_steps)]
    assert [re.sub(r"\s+", " ", line) for line in curl_lines("http://127.0.0.1:3000")] == spaced
