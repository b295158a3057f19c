"""The seeker: a short-lived process that searches a text for a regular expression, for retrieve_result.

Started as `python -I -S seeker.py`; a request as one line of JSON on stdin, and after it the text. A process of its own
for the scanner's reason (see `scanner.py`): a pattern that does not come to an end can only be killed. It also kills
itself by a timer. It imports nothing of the project.

Exit codes are the scanner's: 0 all was seen, 3 a bound was reached, 2 the pattern is not valid; SIGALRM: out of time.
"""

import io
import json
import re
import resource
import signal
import sys
from typing import TextIO

MAX_LINE = 20_000
"""Characters of a line that are searched at once; a longer one is searched in pieces."""
SHOWN_LINE = 400
MEMORY = 1 << 30


def seek(text: TextIO, pattern: re.Pattern[str], offset: int, limit: int) -> int:
    """Print the lines that match, each with the offset at which it begins; the exit code."""
    begun, hits = offset, 0
    while line := text.readline(MAX_LINE):
        if match := pattern.search(line.rstrip("\r\n")):
            if hits == limit:
                _say(f"[stopped at {hits} lines, there are more; go on with offset {offset}]")
                return 3
            hits += 1
            _say(f"{offset}: {_shown(line.rstrip(), match.start())}")
        offset += len(line)
    if not hits:
        _say(f"[no line matches in {offset - begun:,} characters]")
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()  # what was found is kept if a later line takes too long


def _shown(line: str, at: int) -> str:
    start = max(0, at - SHOWN_LINE // 2) if at > SHOWN_LINE - 100 else 0
    shown = line[start : start + SHOWN_LINE]
    return ("..." if start else "") + shown + ("..." if start + SHOWN_LINE < len(line) else "")


def main() -> int:
    request = json.loads(sys.stdin.buffer.readline())
    # The default action of SIGALRM ends a process, whatever it is doing.
    signal.setitimer(signal.ITIMER_REAL, request["seconds"])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    text = io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8", errors="replace", newline="\n")
    try:
        return seek(text, re.compile(request["pattern"]), request["offset"], request["limit"])
    except (re.error, OverflowError, RecursionError) as error:
        sys.stderr.write(f"the pattern is not a valid one: {error}\n")
        return 2


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    sys.exit(main())
