"""Patterns that name calls: `read_file`, `time__*`, `exec(git *)`, `write_file(src/*)` (CONTRACT §2, `allowedTools`).

    name             any call of the tool; `*` stands for anything
    name(subject)    calls whose subject (the argument that the tool names for this: the command, the path, the URL)
                     fits; `*` stands for anything, `\\*` for itself, and a closing ` *` also for nothing

A command line fits when each of its commands fits one of the patterns, so `git status; rm -rf .` does not fit
`exec(git *)`. What cannot be told apart without a shell (substitutions, redirections to files, subshells) fits only a
pattern that is the whole line, or that allows every command. A path is taken without its detours and fits only below
the workspace.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, Final

from session.tooling import Tool

COMMAND: Final = "command"
PATHS: Final = frozenset({"path", "directory"})
_PATTERN = re.compile(r"(?P<name>[^()]+)(?:\((?P<subject>.*)\))?", re.DOTALL)
_TOKEN = re.compile(
    r"""(?P<harmless> (?<=\s)\d?>(?:&[12](?!\w)|\s*/dev/null(?![\w/.-])) )
      | (?P<between> [;&|\n]+ )
      | (?P<word> '[^']*' | "(?:[^"\\`$]|\\.|\$(?![(]))*" | \\[^\n]
                | [^'"\\`<>(){};&|\s#$]+ | [^\S\n]+ | \$(?![('"{]) | (?<=[^\s;&|])\# )""",
    re.DOTALL | re.VERBOSE,
)
"""What may be read without a shell. Not in it: substitutions, subshells, braces, other redirections, other rules of
quoting (`$'`), and comments, in which quotes mean nothing."""
_WITH_SUBCOMMANDS: Final = frozenset(
    {
        "apt",
        "brew",
        "bun",
        "cargo",
        "docker",
        "gh",
        "git",
        "go",
        "kubectl",
        "npm",
        "pip",
        "pnpm",
        "poetry",
        "uv",
        "yarn",
    }
)
_RUNS_ANYTHING: Final = frozenset(
    {"awk", "bash", "busybox", "chroot", "dash", "deno", "doas", "env", "eval", "exec", "find", "ksh", "nice", "node"}
    | {"nohup", "npx", "parallel", "perl", "php", "python", "python3", "rm", "ruby", "setsid", "sh", "source", "ssh"}
    | {"stdbuf", "sudo", "timeout", "watch", "xargs", "xonsh", "zsh"}
)
"""To allow one of these always would allow everything: of these only the very line is kept."""


def is_pattern(text: str) -> bool:
    return _PATTERN.fullmatch(text) is not None


def tool_name(pattern: str) -> str:
    """The part that names the tool."""
    found = _PATTERN.fullmatch(pattern)
    return found["name"].strip() if found else pattern


def names(pattern: str, tool: str) -> bool:
    """Whether the pattern is about this tool at all."""
    return _glob(tool_name(pattern)).fullmatch(tool) is not None


def permits(patterns: Collection[str], tool: Tool, arguments: Mapping[str, Any]) -> bool:
    """Whether a call of `tool` with these arguments fits the patterns."""
    about = [pattern for pattern in patterns if names(pattern, tool.name)]
    subjects = [found["subject"] for pattern in about if (found := _PATTERN.fullmatch(pattern)) is not None]
    if any(subject is None or subject == "*" for subject in subjects):
        return True
    value = arguments.get(tool.subject) if tool.subject is not None else None
    if not subjects or not isinstance(value, str):
        return False
    fits = [_glob(subject) for subject in subjects if subject is not None]
    if tool.subject == COMMAND:
        return _permits_line(fits, [subject for subject in subjects if subject is not None], value.strip())
    if tool.subject in PATHS:
        value = posixpath.normpath(value)
        if value.startswith(("/", "..")):
            return False
    return any(fit.fullmatch(value) for fit in fits)


def _permits_line(fits: list[re.Pattern[str]], subjects: list[str], line: str) -> bool:
    if line in (unescaped(subject) for subject in subjects if _is_plain(subject)):
        return True
    commands = simple_commands(line)
    return bool(commands) and all(any(fit.fullmatch(one) for fit in fits) for one in commands or ())


@lru_cache(maxsize=1024)
def _glob(pattern: str) -> re.Pattern[str]:
    tail = ""
    if pattern.endswith(" *") and not pattern.endswith("\\ *"):
        pattern, tail = pattern[:-2], r"(?:\s.*)?"
    parts = re.split(r"(\\.|\*)", pattern, flags=re.DOTALL)
    told = [".*" if part == "*" else re.escape(part[1:] if part.startswith("\\") else part) for part in parts]
    return re.compile("".join(told) + tail, re.DOTALL)


def _is_plain(pattern: str) -> bool:
    """Whether it has no star that stands for anything."""
    return "*" not in re.sub(r"\\.", "", pattern, flags=re.DOTALL)


def unescaped(pattern: str) -> str:
    return re.sub(r"\\(.)", r"\1", pattern, flags=re.DOTALL)


def escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("*", "\\*")


def simple_commands(line: str) -> list[str] | None:
    """The commands of a shell line one by one; None where only a shell could tell them apart."""
    commands, at = [""], 0
    while at < len(line):
        token = _TOKEN.match(line, at)
        if token is None:
            return None
        at = token.end()
        if token.lastgroup == "between":
            commands.append("")
        elif token.lastgroup != "harmless":
            commands[-1] += token[0]
    return [command.strip() for command in commands if command.strip()]


def grant(tool: Tool, arguments: Mapping[str, Any]) -> str:
    """The pattern that `allow-always` stores: the tool, or of a command its beginning (the whole line where the
    beginning would say too little)."""
    line = arguments.get(COMMAND)
    if tool.subject != COMMAND or not isinstance(line, str):
        return tool.name
    line = line.strip()
    exact = f"{tool.name}({escaped(line)})"
    commands = simple_commands(line)
    if commands is None or len(commands) != 1:
        return exact
    try:
        words = shlex.split(commands[0])
    except ValueError:
        return exact
    kept = words[:2] if words[0] in _WITH_SUBCOMMANDS else words[:1]
    beginning = " ".join(kept)
    said = commands[0].startswith(beginning)  # not quoted, so that it reads as it is written
    if not said or words[0].rpartition("/")[2] in _RUNS_ANYTHING or any(word.startswith("-") for word in kept):
        return exact
    if "=" in words[0] or (words[0] in _WITH_SUBCOMMANDS and len(kept) < 2):
        return exact
    return f"{tool.name}({escaped(beginning)} *)"
