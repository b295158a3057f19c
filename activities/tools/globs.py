"""File name patterns, translated for the scanner into the regular expressions that it matches.

Only translated here, in linear time; matching a hostile one is the scanner's risk, and the scanner can be
killed.
"""

import re

MAX_ALTERNATIVES = 64
_BRACES = re.compile(r"\{([^{}]*,[^{}]*)\}")
_TOKEN = re.compile(r"\*\*/|\*\*|\*|\?|\[!?\]?[^\]]*\]|.", re.DOTALL)
_MEANING = {"**/": "(?:.+/)?", "**": ".+", "*": "[^/]*", "?": "[^/]"}


def translated(pattern: str) -> list[str]:
    """Expressions for whole paths from where the search starts, of which one must match.

    `*.py` is a name at any depth, `src/**/*.ts` a path, `**` any number of folders, `{a,b}` either.
    """
    return [_expression(each) for each in _alternatives(pattern.removeprefix("./").strip("/"))]


def part_of_name(pattern: str) -> str:
    """The pattern itself, or for a plain word the glob of every name that contains it."""
    return pattern if re.search(r"[*?\[{/]", pattern) else f"*{pattern}*"


def _expression(pattern: str) -> str:
    anywhere = "" if "/" in pattern else "(?:.+/)?"
    return f"(?s:{anywhere}{''.join(_translated(token) for token in _TOKEN.findall(pattern))})"


def _translated(token: str) -> str:
    if token.startswith("[") and token not in ("[", "[]"):
        inner = re.sub(r"[\\^\[&~|]", r"\\\g<0>", token[1:-1])
        return f"[^/{inner[1:]}]" if inner.startswith("!") else f"(?!/)[{inner}]"
    return _MEANING.get(token) or re.escape(token)


def _alternatives(pattern: str) -> list[str]:
    pending, done = [pattern], list[str]()
    while pending:
        each = pending.pop()
        match = _BRACES.search(each)
        if match is None or len(pending) + len(done) >= MAX_ALTERNATIVES:
            done.append(each)
        else:
            pending.extend(each[: match.start()] + one + each[match.end() :] for one in match[1].split(","))
    return done[:MAX_ALTERNATIVES]
