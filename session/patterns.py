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
URL: Final = "url"
PATHS: Final = frozenset({"path", "directory"})
_BLANKS: Final = " \t\n"
_URL = re.compile(r"([^:/]+)://([^/?#\\]*)(.*)", re.DOTALL)
_PATTERN = re.compile(r"(?P<name>[^()]+)(?:\((?P<subject>.*)\))?", re.DOTALL)
_TOKEN = re.compile(
    r"""(?P<harmless> (?<=[ \t])\d?>(?:&[12]|[ \t]*/dev/null)(?=[ \t\n;&|]|\Z) )
      | (?P<between> [;&|\n]+ )
      | (?P<word> '[^']*' | "(?:[^"\\`$]|\\.|\$\{\w+\}|\$(?![({[]))*" | \\[^\n]
                | [^'"\\`<>(){};&|\s#$]+ | [^\S\n]+ | \$(?![('"{[]) | (?<=[^\s;&|])\# )""",
    re.DOTALL | re.VERBOSE,
)
"""What may be read without a shell. Not in it: substitutions, subshells, braces, other redirections, other rules of
quoting (`$'`), and comments, in which quotes mean nothing."""
_WITH_SUBCOMMANDS: Final = frozenset(
    {"apt", "apt-get", "brew", "bun", "bundle", "cargo", "conda", "docker", "dotnet", "gem", "gh", "git", "go"}
    | {"hatch", "kubectl", "npm", "pdm", "pip", "pip3", "pixi", "pnpm", "podman", "poetry", "uv", "yarn"}
)
_WITH_SCRIPTS: Final = frozenset({"bun", "npm", "pnpm", "yarn"})
"""Of these `run` is followed by the name of a script, which is kept too."""
_SUBCOMMANDS_THAT_RUN_ANYTHING: Final = frozenset(
    {"alias", "api", "bisect", "compose", "config", "cp", "create", "debug", "difftool", "dlx", "env", "exec"}
    | {"extension", "filter-branch", "generate", "mergetool", "rebase", "run", "shell", "submodule", "tool", "x"}
)
_RUNS_ANYTHING: Final = frozenset(
    {"!", ".", "[[", "ash", "at", "awk", "bash", "batch", "builtin", "bunx", "busybox", "case", "chroot", "chrt"}
    | {"command", "coproc", "crontab", "csh", "dash", "deno", "do", "doas", "ed", "elif", "else", "emacs", "env"}
    | {"eval", "ex", "exec", "expect", "find", "fish", "flock", "for", "function", "gawk", "gdb", "if", "ionice"}
    | {"julia", "ksh", "less", "ltrace", "lua", "make", "man", "mawk", "mksh", "more", "nano", "nawk", "nice", "node"}
    | {"nodejs", "nohup", "npx", "nsenter", "nvim", "parallel", "perl", "php", "pipx", "pkexec", "pnpx", "prlimit"}
    | {"pwsh", "pypy", "python", "rbash", "rm", "rsync", "ruby", "runuser", "scp", "screen", "script", "sed", "select"}
    | {"setarch", "setpriv", "setsid", "sh", "source", "ssh", "stdbuf", "strace", "su", "sudo", "systemd-run", "tar"}
    | {"taskset", "tclsh", "tcsh", "then", "time", "timeout", "tmux", "toybox", "trap", "tsx", "unbuffer", "unshare"}
    | {"until", "uvx", "vi", "view", "vim", "watch", "while", "xargs", "xonsh", "zip", "zsh"}
)
"""To allow one of these always would allow everything: of these only the very line is kept. They are programs that run
what they are told to, whatever version stands behind their name, and a shell's own words."""
_PLAIN_WORD: Final = re.compile(r"[\w./@:+-]+", re.ASCII)


def is_pattern(text: str) -> bool:
    return _PATTERN.fullmatch(text) is not None


def tool_name(pattern: str) -> str:
    """The part that names the tool."""
    found = _PATTERN.fullmatch(pattern)
    return found["name"].strip() if found else pattern


def names(pattern: str, tool: str) -> bool:
    """Whether the pattern is about this tool at all."""
    return _fits(tool_name(pattern), tool)


def permits(patterns: Collection[str], tool: Tool, arguments: Mapping[str, Any]) -> bool:
    """Whether a call of `tool` with these arguments fits the patterns."""
    about = [pattern for pattern in patterns if names(pattern, tool.name)]
    subjects = [found["subject"] for pattern in about if (found := _PATTERN.fullmatch(pattern)) is not None]
    if any(subject is None or subject == "*" for subject in subjects):
        return True
    value = arguments.get(tool.subject) if tool.subject is not None else None
    if not subjects or not isinstance(value, str):
        return False
    told = [subject for subject in subjects if subject is not None]
    if tool.subject == COMMAND:
        return _permits_line(told, value.strip(_BLANKS))
    if tool.subject == URL:
        return any(_permits_url(pattern, value) for pattern in told)
    if tool.subject in PATHS:
        value = posixpath.normpath(value)
        if value.startswith(("/", "..")):
            return False
    return any(_fits(pattern, value) for pattern in told)


def _permits_line(patterns: list[str], line: str) -> bool:
    if line in (unescaped(pattern) for pattern in patterns if _is_plain(pattern)):
        return True
    commands = simple_commands(line)
    return bool(commands) and all(any(_fits(pattern, one) for pattern in patterns) for one in commands or ())


def _permits_url(pattern: str, url: str) -> bool:
    """The host for itself, so that `https://*.example.com/*` is about hosts and not about what stands behind them."""
    wanted, given = _URL.fullmatch(pattern), _URL.fullmatch(url)
    if wanted is None:
        return _fits(pattern, url)
    return given is not None and all(map(_fits, wanted.groups(), given.groups()))


def _fits(pattern: str, text: str) -> bool:
    """Whether the whole text fits. Takes time linear in the text: the text is the model's, and may be long."""
    return any(_has(pieces, text) for pieces in _readings(pattern))


def _has(pieces: tuple[str, ...], text: str) -> bool:
    """Whether the text is these pieces in order, with anything between them."""
    first, *middle = pieces
    if not middle:
        return text == first
    *middle, last = middle
    at, end = len(first), len(text) - len(last)
    if at > end or not (text.startswith(first) and text.endswith(last)):
        return False
    for piece in middle:
        found = text.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True


@lru_cache(maxsize=1024)
def _readings(pattern: str) -> tuple[tuple[str, ...], ...]:
    """What stands between a pattern's stars; several readings where a closing ` *` stands also for nothing."""
    may_end = pattern.endswith(" *") and not pattern.endswith("\\ *")
    pieces = [""]
    for part in re.split(r"(\\.|\*)", pattern.removesuffix(" *") if may_end else pattern, flags=re.DOTALL):
        if part == "*":
            pieces.append("")
        else:
            pieces[-1] += part[1:] if len(part) == 2 and part.startswith("\\") else part
    *before, last = pieces
    more = [(*before, last + blank, "") for blank in _BLANKS] if may_end else []
    return (tuple(pieces), *more)


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
    return [bare for command in commands if (bare := command.strip(_BLANKS))]


def grant(tool: Tool, arguments: Mapping[str, Any]) -> str:
    """The pattern that `allow-always` stores: the tool, or of a command its beginning (the whole line where the
    beginning would say too little)."""
    line = arguments.get(COMMAND)
    if tool.subject != COMMAND or not isinstance(line, str):
        return tool.name
    line = line.strip(_BLANKS)
    exact = f"{tool.name}({escaped(line)})"
    commands = simple_commands(line)
    if commands is None or len(commands) != 1:
        return exact
    try:
        words = shlex.split(commands[0])
    except ValueError:
        return exact
    with_subcommand = words[0] in _WITH_SUBCOMMANDS
    with_script = words[0] in _WITH_SCRIPTS and words[1:2] == ["run"] and len(words) > 2
    kept = words[: 1 + with_subcommand + with_script]
    beginning = " ".join(kept)
    said = commands[0].startswith(beginning)  # not quoted, so that it reads as it is written
    plain = all(_PLAIN_WORD.fullmatch(word) and not word.startswith("-") for word in kept)
    if not said or not plain or (with_subcommand and len(kept) < 2):
        return exact
    if _runs_anything(words[0]) or (with_subcommand and not with_script and kept[1] in _SUBCOMMANDS_THAT_RUN_ANYTHING):
        return exact
    return f"{tool.name}({escaped(beginning)} *)"


def _runs_anything(program: str) -> bool:
    name = program.rpartition("/")[2]
    return name in _RUNS_ANYTHING or name.rstrip("0123456789.-") in _RUNS_ANYTHING
