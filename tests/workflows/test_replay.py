"""Sessions that were begun by an earlier version go on under this one: recorded histories replay (DESIGN §4).

A failure here means that the workflow's commands changed for sessions already running. Guard the change with
`workflow.patched`, or, before the first release, record anew: `python -m tests.workflows.record`.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner
from temporalio.workflow import NondeterminismError

from tests.workflows.changed import ChangedWorkflow
from tests.workflows.record import HISTORIES, SECRET, SESSIONS, content_in
from workflows.session import SessionWorkflow

FILES = sorted(HISTORIES.glob("*.json"))


def _history(file: Path) -> WorkflowHistory:
    return WorkflowHistory.from_json("sess_recorded", file.read_text())


def test_every_kind_of_session_was_recorded() -> None:
    assert {file.stem for file in FILES} >= set(SESSIONS)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
async def test_a_recorded_history_replays(file: Path) -> None:
    await Replayer(workflows=[SessionWorkflow]).replay_workflow(_history(file))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
async def test_an_incompatible_change_is_noticed(file: Path) -> None:
    replayer = Replayer(workflows=[ChangedWorkflow], workflow_runner=UnsandboxedWorkflowRunner())
    with pytest.raises(NondeterminismError):
        await replayer.replay_workflow(_history(file))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_history_holds_no_content(file: Path) -> None:
    assert not list(content_in(file.read_text()))


def test_content_in_a_payload_would_be_found() -> None:
    payload = base64.b64encode(json.dumps({"text": f"a {SECRET} word"}).encode()).decode()
    assert list(content_in(json.dumps({"input": {"payloads": [{"data": payload}]}})))
