"""File descriptors: every reader is one here and one in the service, and the usual limit of a shell is 1,024."""

from __future__ import annotations

import resource

SPARE = 256
"""For logs, databases, libraries and the model's connections."""


class TooFew(Exception):
    """The system does not allow as many open files as the part needs; the message says what to do."""


def allow(connections: int) -> None:
    """Let this process, and those that it starts from now on, have so many connections. Raises TooFew.

    Only the soft limit is raised, up to the hard one: nobody needs a right for that.
    """
    needed = 2 * connections + SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise TooFew(
            f"{needed:,} open files are needed and {hard:,} allowed: raise the hard limit (ulimit -Hn {needed})"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
