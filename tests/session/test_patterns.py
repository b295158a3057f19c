"""Claims about the patterns of `allowedTools` and of what is allowed always: nothing slips through a beginning."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session.patterns import grant, is_pattern, names, permits, simple_commands
from session.tooling import Tool


def tool(name: str, subject: str | None) -> Tool:
    return Tool(
        name=name, description="", input_schema={}, security_level="dangerous", effect="sideEffect", subject=subject
    )


EXEC = tool("exec", "command")
WRITE = tool("write_file", "path")
FETCH = tool("web_fetch", "url")


def runs(line: str, *patterns: str) -> bool:
    return permits(patterns, EXEC, {"command": line})


@pytest.mark.parametrize(
    "line",
    [
        "git",
        "git status",
        "git log -p -- 'a;b'",
        'git commit -m "x && y"',
        "git log 2>&1",
        "git log >/dev/null 2>&1",
        "git log > /dev/null && git diff",
        "  git status  ",
        "git status; git diff\ngit log",
        r"git log a\;b",
        'git log "${HOME}/x" "$USER"',
        "git\tstatus",
    ],
)
def test_a_line_of_allowed_commands_runs(line: str) -> None:
    assert runs(line, "exec(git *)")


@pytest.mark.parametrize(
    "line",
    [
        "gitx status",
        "git status; rm -rf .",
        "git status && rm -rf .",
        "git status || rm x",
        "git status | sh",
        "git status |& sh",
        "git status & rm x",
        "git status\nrm x",
        "git status\r\nrm x",
        "git $(rm x)",
        "git `rm x`",
        'git "$(rm x)"',
        'git "`rm x`"',
        "git <(rm x)",
        "git >(rm x)",
        "git log > .bashrc",
        "git log >| x",
        "git log &> x",
        "git log 2> x",
        "git log >/dev/nullx",
        "git log >/dev/null/../../etc/x",
        "git log >/dev/null'x'",
        "git log >&1'x'",
        "git log >&1/x",
        'git log "${PWD@P}"',
        'git log "$[x]"',
        "git log $[x]",
        "git\u00a0status",
        "\u00a0git status",
        "git log <<< x",
        'git log # " \n rm x # "',
        "git log;# ' \n rm x # '",
        "git $'a\\'' ; rm x ; : $'b'",
        'git $"x" ; rm x',
        "git ${X@P}",
        "git {a,b}",
        "(git status; rm x)",
        "{ git status; }",
        "! git status",
        "PAGER='rm x' git log",
        "env git status",
        "if git status; then rm x; fi",
        "git status 'unterminated",
        'git status "unterminated',
        "git status \\",
        "git sta\\\ntus; rm x",
        "rm x; git status",
        "",
        " ",
        ";",
    ],
)
def test_a_line_that_may_do_more_does_not(line: str) -> None:
    assert not runs(line, "exec(git *)")


@given(st.text(alphabet="ab '\"\\$`();|&<>#\n\t=!{}", max_size=24))
def test_no_mixture_of_shell_signs_smuggles_a_second_command_in(noise: str) -> None:
    told = simple_commands(f"git {noise}")
    for command in told or ():
        assert not any(sign in _bare(command) for sign in ";|&\n`"), (noise, told)


def _bare(command: str) -> str:
    """The command without what is quoted, as a shell without special quoting reads it."""
    kept, quote, skip = [], "", False
    for char in command:
        if skip:
            skip = False
        elif quote == "'":
            quote = "" if char == "'" else quote
        elif char == "\\":
            skip = True
        elif quote:
            quote = "" if char == '"' else quote
        elif char in "'\"":
            quote = char
        else:
            kept.append(char)
    return "".join(kept)


def test_each_command_of_a_line_may_fit_another_pattern() -> None:
    assert runs("git log | head -3", "exec(git *)", "exec(head *)")
    assert not runs("git log | head -3", "exec(git *)")


def test_every_command_is_allowed_by_the_name_alone_or_by_a_star() -> None:
    for pattern in ("exec", "exec(*)", "*", "ex*"):
        assert runs("anything $(at all)", pattern)
    assert not runs("anything", "grep")


def test_a_whole_line_may_be_named() -> None:
    assert runs("a | b > c", "exec(a | b > c)")
    assert not runs("a | b > d", "exec(a | b > c)")
    assert runs("echo *", r"exec(echo \*)")
    assert not runs("echo x", r"exec(echo \*)")


@pytest.mark.parametrize(
    ("path", "fits"),
    [
        ("src/a.py", True),
        ("src/deep/a.py", True),
        ("./src/a.py", True),
        ("src/../secret", False),
        ("src/../../etc/passwd", False),
        ("/src/a.py", False),
        ("other/src/a.py", False),
        ("srcx/a.py", False),
    ],
)
def test_a_path_fits_without_its_detours(path: str, fits: bool) -> None:
    assert permits(["write_file(src/*)"], WRITE, {"path": path}) is fits
    assert permits(["search_files(src/*)"], tool("search_files", "directory"), {"directory": path}) is fits


def test_an_argument_that_is_missing_or_no_text_fits_nothing() -> None:
    assert not permits(["write_file(*x)"], WRITE, {})
    assert not permits(["write_file(*x)"], WRITE, {"path": ["x"]})
    assert not permits(["grep(x)"], tool("grep", None), {"path": "x"})


def test_a_url_fits_by_its_beginning() -> None:
    allowed = ["web_fetch(https://example.com/*)"]
    assert permits(allowed, FETCH, {"url": "https://example.com/a"})
    assert not permits(allowed, FETCH, {"url": "https://example.com.evil.test/a"})


@pytest.mark.parametrize(
    ("url", "fits"),
    [
        ("https://a.example.com/x", True),
        ("https://a.b.example.com/", True),
        ("https://evil.test/.example.com/", False),
        ("https://evil.test?.example.com/", False),
        ("https://evil.test#.example.com/", False),
        ("https://evil.test\\.example.com/", False),
        ("https://a.example.com@evil.test/", False),
        ("http://a.example.com/", False),
        ("https:a.example.com/", False),
    ],
)
def test_a_star_in_a_host_stands_for_names_and_not_for_another_host(url: str, fits: bool) -> None:
    assert permits(["web_fetch(https://*.example.com/*)"], FETCH, {"url": url}) is fits


def test_a_pattern_of_many_stars_takes_no_time_over_a_long_line() -> None:
    assert not runs("a" * 100_000, f"exec({'*a' * 50}b)")
    assert runs("a" * 100_000 + "b", f"exec({'*a' * 50}b)")


@pytest.mark.parametrize(
    ("line", "pattern"),
    [
        ("git status -s", "exec(git status *)"),
        ("pytest -q", "exec(pytest *)"),
        ("npm run build", "exec(npm run build *)"),
        ("npm run", "exec(npm run)"),
        ("pip install x", "exec(pip install *)"),
        ("uv run pytest", "exec(uv run pytest)"),
        ("docker run hello", "exec(docker run hello)"),
        ("git config alias.x y", "exec(git config alias.x y)"),
        ("time pytest -q", "exec(time pytest -q)"),
        ("command ls", "exec(command ls)"),
        ("! ls", "exec(! ls)"),
        (". ./x.sh", "exec(. ./x.sh)"),
        ("python3.11 a.py", "exec(python3.11 a.py)"),
        ("make test", "exec(make test)"),
        ("tar xf a", "exec(tar xf a)"),
        ("$X a", "exec($X a)"),
        ("?m a", "exec(?m a)"),
        ("git", "exec(git)"),
        ("git -C /x status", "exec(git -C /x status)"),
        ("bash -c 'x'", "exec(bash -c 'x')"),
        ("python3 a.py", "exec(python3 a.py)"),
        ("/usr/bin/python3 a.py", "exec(/usr/bin/python3 a.py)"),
        ("sudo ls", "exec(sudo ls)"),
        ("rm a", "exec(rm a)"),
        ("ls; rm x", "exec(ls; rm x)"),
        ("echo $(x)", "exec(echo $(x))"),
        ("X=1 ls", "exec(X=1 ls)"),
        ("ls *", "exec(ls *)"),
        ("'l s' x", "exec('l s' x)"),
    ],
)
def test_what_is_allowed_always_is_a_beginning_only_where_that_says_enough(line: str, pattern: str) -> None:
    kept = grant(EXEC, {"command": line})
    assert kept == pattern
    assert runs(line, kept), "what was allowed is allowed"


def test_other_tools_are_allowed_always_by_name() -> None:
    assert grant(WRITE, {"path": "a"}) == "write_file"


@given(st.text(min_size=1, max_size=40).filter(str.strip))
def test_whatever_line_is_allowed_always_fits_its_own_pattern(line: str) -> None:
    pattern = grant(EXEC, {"command": line})
    assert is_pattern(pattern) and names(pattern, "exec")
    assert runs(line, pattern)


@pytest.mark.parametrize("pattern", ["", "(x)", "exec(x", "exec)x("])
def test_what_is_no_pattern_is_told(pattern: str) -> None:
    assert not is_pattern(pattern)
