"""Legal moves of a session's status (CONTRACT §1).

    created ──> queued ──> running ──> completed | failed | cancelled
       └───────────┴──────────┴────────────^

created = stored; queued = its workflow was accepted by Temporal; running = a worker has begun its first step. Every
state may end at once (a session cancelled before a worker took it); a worker may begin before the row says `queued`.
Terminal states never change.
"""

from typing import Final

from session.vocabulary import TERMINAL, SessionStatus

_ENDS: Final[frozenset[SessionStatus]] = frozenset({"completed", "failed", "cancelled"})

MOVES: Final[dict[SessionStatus, frozenset[SessionStatus]]] = {
    "created": frozenset[SessionStatus]({"queued", "running"}) | _ENDS,
    "queued": frozenset[SessionStatus]({"running"}) | _ENDS,
    "running": _ENDS,
    "completed": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}


class IllegalMove(ValueError):
    """A status was asked to move where the table does not lead; nothing was changed."""


def move(current: SessionStatus, to: SessionStatus) -> SessionStatus:
    """Return `to` if the table allows it from `current`; raise IllegalMove otherwise."""
    if to not in MOVES[current]:
        raise IllegalMove(f"a session that is {current} cannot become {to}")
    return to


def sources(to: SessionStatus) -> frozenset[SessionStatus]:
    """The states from which `to` may be reached: the WHERE clause of a conditional update."""
    return frozenset(state for state, moves in MOVES.items() if to in moves)


def is_terminal(status: SessionStatus) -> bool:
    return status in TERMINAL
