"""What crosses Temporal: names and small values, used by both sides (workflow and activities, API and workflow).

Nothing here grows with the conversation (G7): ids, limits, counts. Content is loaded by reference from the store.
Adding a field needs a default, so that histories recorded before it still replay.
"""

from dataclasses import dataclass, field
from typing import Final

from session.usage import Usage
from session.vocabulary import CallStatus, CancelMode, Effect, Gate, Phase, StopReason

TASK_QUEUE: Final = "perdure"
"""Of workflow tasks and model calls: any worker takes them."""
WORKFLOW: Final = "SessionWorkflow"
CANCEL_SIGNAL: Final = "cancel"
ADMIT_SIGNAL: Final = "admit"
"""Tells a workflow that was started with `waits` that it may begin its first step. Sending it again changes nothing."""
PROGRESS_QUERY: Final = "progress"
CALL_MODEL: Final = "call_model"
RUN_TOOL: Final = "run_tool"
CLOSE_SESSION: Final = "close_session"
RECORD_DECISION: Final = "record_decision"
DECIDE_UPDATE: Final = "decide"

PROVIDER_ERROR: Final = "ProviderError"
"""ApplicationError type of a refused or failed model call; only a final one reaches the workflow."""
SESSION_OVER: Final = "SessionOver"
"""ApplicationError type: the row is terminal, nothing may be spent on this session any more."""
FENCED: Final = "Fenced"
"""ApplicationError type: a newer attempt of the same step has begun, this one must not be heard."""

NOT_WAITING: Final = "NotWaiting"
"""ApplicationError type of a refused decision: no call waits for this approval any more."""

SEARCH_ATTRIBUTES: Final[dict[str, str]] = {
    "PerdureConversation": "Keyword",
    "PerdureStatus": "Keyword",
    "PerdureModel": "Keyword",
    "PerdureStopReason": "Keyword",
    "PerdureTenant": "Keyword",
}


def tools_queue(task_queue: str, home: str) -> str:
    """Of the tool calls that must run where a workspace is. `home` names a workspace root; every worker that has it
    polls this queue beside `task_queue`. Without a home the calls go where everything goes."""
    return f"{task_queue}-tools-{home}" if home else task_queue


@dataclass(frozen=True, slots=True)
class SessionInput:
    """Start of a session's workflow. `deadline_ms` is Unix ms and absolute: queueing and retries count (CONTRACT).

    `waits`: it may not begin yet; the `admit` signal says when.
    """

    session_id: str
    deadline_ms: int
    max_steps: int
    model: str
    max_budget: int | None = None
    max_cost_usd: float | None = None
    search_attributes: bool = False
    waits: bool = False


@dataclass(frozen=True, slots=True)
class StepRef:
    """Names one step of one run: references are (session, step); `epoch_ms`, the start of the run, orders runs."""

    session_id: str
    step: int
    epoch_ms: int
    deadline_ms: int


@dataclass(frozen=True, slots=True)
class CallRef:
    """A tool call without its content. `digest` tells whether two calls have the same name and arguments.

    `gate`: it runs, waits for an approval (`approval_id`, until `expires_ms`, Unix ms), or is refused. `quick`: it is
    over within moments, so it need not travel; `anywhere`: nor does it need the session's workspace.
    """

    id: str
    name: str
    effect: Effect
    digest: str
    gate: Gate = "run"
    approval_id: str = ""
    expires_ms: int = 0
    quick: bool = False
    anywhere: bool = False


@dataclass(frozen=True, slots=True)
class ModelReply:
    """The small value `call_model` returns. `interrupted`: it was stopped before the reply was whole.

    `total` and `total_cost`: what the session has spent with this reply, cut attempts included. `home`: the workspace
    root that holds the session's workspace. `more`: something was said to the session meanwhile, so a reply without
    calls does not end it. `spent`: the budget leaves no further call; None where that was not said yet (replies that
    were recorded before it was). `cut_short`: the budget ended this reply, or left nothing to call the model with.
    """

    usage: Usage = field(default_factory=Usage)
    cost: float | None = None
    calls: list[CallRef] = field(default_factory=list)
    interrupted: bool = False
    total: Usage | None = None
    total_cost: float | None = None
    home: str = ""
    more: bool = False
    spent: bool | None = None
    cut_short: bool = False


@dataclass(frozen=True, slots=True)
class ToolRef:
    """Names one tool call of one step. A call that asked for an approval is run when the wait for it is over.

    `home`: the workspace root that it must run in, if any. `abandoned`: no worker that has it took the call in time;
    it is answered and not run.
    """

    at: StepRef
    call_id: str
    gate: Gate = "run"
    home: str = ""
    abandoned: bool = False


@dataclass(frozen=True, slots=True)
class ToolFate:
    """The small value `run_tool` returns. `elsewhere`: nothing was done, since the workspace is on another machine."""

    call_id: str
    status: CallStatus
    duration_ms: int = 0
    interrupted: bool = False
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a session ends; `message` is for people and is empty where the stop reason says it all."""

    reason: StopReason
    message: str = ""
    retryable: bool = False
    cancelled_by: str = ""


@dataclass(frozen=True, slots=True)
class CloseRequest:
    session_id: str
    ending: Ending


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """Payload of the `cancel` signal."""

    mode: CancelMode = "now"
    reason: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """Payload of the `decide` update: which stored decision is offered for which approval."""

    approval_id: str
    decision_id: str


@dataclass(frozen=True, slots=True)
class DecisionRef:
    """Names the decision that won, for the `record_decision` activity."""

    session_id: str
    approval_id: str
    decision_id: str


@dataclass(frozen=True, slots=True)
class Progress:
    """Answer of the `progress` query (CONTRACT §2)."""

    phase: Phase
    step: int
    pending_tools: list[str]
    usage: Usage
    deadline_ms: int
