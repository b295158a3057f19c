"""The words of Perdure, each spelled once (CONTRACT §1-§3). Every other room imports them from here."""

from typing import Final, Literal

Effect = Literal["readOnly", "idempotent", "sideEffect"]
"""What running a tool twice would do: nothing, the same again, or harm. Only the first may be retried (G4)."""

Gate = Literal["run", "ask", "refuse"]
"""What the security mode says of a call."""

ApprovalStatus = Literal["pending", "approved", "denied", "expired"]
ApprovalDecision = Literal["allow-once", "allow-always", "deny"]
APPROVAL_SECONDS: Final = 60
"""An approval that is not given within this time is denied (CONTRACT §4)."""

SecurityLevel = Literal["safe", "moderate", "dangerous"]
SecurityMode = Literal["deny", "sandbox", "allowlist", "ask", "full"]
Effort = Literal["low", "medium", "high", "max"]
OnConflict = Literal["reject", "enqueue", "interrupt"]
CancelMode = Literal["graceful", "now"]
Provider = Literal["anthropic"]
Role = Literal["user", "assistant"]
Interjection = Literal["followUp", "repair"]
"""What is said to a running session between two steps: by a user, or by us about a result that is not as asked for."""
MemorySource = Literal["file", "summary", "note"]
"""Where a file of memory comes from: the memory folder, a session's summary, a conversation's own notes."""
MemoryStatus = Literal["active", "archived"]
CallStatus = Literal["pending", "success", "error"]
ResultStatus = Literal["success", "error"]

SessionStatus = Literal["created", "queued", "running", "completed", "failed", "cancelled"]
TerminalStatus = Literal["completed", "failed", "cancelled"]
TERMINAL: Final[frozenset[str]] = frozenset({"completed", "failed", "cancelled"})

StopReason = Literal[
    "endTurn",
    "taskCompleted",
    "maxSteps",
    "budgetExceeded",
    "loopDetected",
    "timeout",
    "providerError",
    "internalError",
    "cancelled",
]
ErrorCode = Literal["TIMEOUT", "CANCELLED", "PROVIDER_ERROR", "INTERNAL"]
Phase = Literal["callingModel", "runningTools", "awaitingApproval", "closing"]

STATUS_OF: Final[dict[StopReason, TerminalStatus]] = {
    "endTurn": "completed",
    "taskCompleted": "completed",
    "maxSteps": "completed",
    "budgetExceeded": "completed",
    "loopDetected": "completed",
    "timeout": "failed",
    "providerError": "failed",
    "internalError": "failed",
    "cancelled": "cancelled",
}
"""The terminal status that each stop reason leads to (CONTRACT §1)."""

ERROR_OF: Final[dict[StopReason, ErrorCode]] = {
    "timeout": "TIMEOUT",
    "providerError": "PROVIDER_ERROR",
    "internalError": "INTERNAL",
    "cancelled": "CANCELLED",
}
"""The `error` event's code for each stop reason that ends a stream with `error`; the others end with `complete`."""

STEPS_OF_EFFORT: Final[dict[Effort, int]] = {"low": 5, "medium": 20, "high": 50, "max": 200}
MAX_STEPS: Final = 200
MAX_TIMEOUT_SECONDS: Final = 180
MAX_CONTENT_CHARS: Final = 200_000
COMPLETE_TASK: Final = "complete_task"
"""The tool whose successful call ends a session as `taskCompleted`."""
