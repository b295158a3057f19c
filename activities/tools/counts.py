"""How many tests passed and failed, read from what test runners print. Where it cannot be read, nothing is claimed."""

import re
from dataclasses import dataclass
from typing import Final

_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_PYTEST = re.compile(r"^(?:=+ )?((?:\d+ [a-z]+(?:, )?)+) in [\d.]+s(?: \([\d:]+\))?(?: =+)?$", re.MULTILINE)
_UNITTEST = re.compile(r"^Ran (\d+) tests? in [\d.]+s$\s+(OK|FAILED|NO TESTS RAN)(?: \(([^)]*)\))?", re.MULTILINE)
_CARGO = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored", re.MULTILINE)
_GO = re.compile(r"^--- (PASS|FAIL|SKIP): ", re.MULTILINE)
_GO_PACKAGE = re.compile(r"^(?:ok|FAIL|\?) *\t", re.MULTILINE)
_JEST = re.compile(r"^\s*Tests:?\s+((?:\d+ [a-z]+(?:, | \| )?)+)(?: \(\d+\))?", re.MULTILINE)
_NODE = re.compile(r"^(?:#|\u2139) (pass|fail|skipped) (\d+)$", re.MULTILINE)
_MOCHA = re.compile(r"^\s*(\d+) (passing|failing|pending)\b", re.MULTILINE)
_NUMBERED = re.compile(r"(\d+) ([a-z]+)")
_KINDS: Final = {
    **dict.fromkeys(("passed", "passing", "pass", "xpassed", "PASS"), "passed"),
    **dict.fromkeys(("failed", "failing", "fail", "error", "errors", "failures", "FAIL"), "failed"),
    **dict.fromkeys(("skipped", "pending", "todo", "ignored", "xfailed", "SKIP", "deselected"), "skipped"),
}


@dataclass(frozen=True)
class Counts:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __str__(self) -> str:
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


def counted(output: str) -> Counts | None:
    """The numbers of the runner whose closing lines are in the output; None when no known one is."""
    text = _COLOURS.sub("", output)
    for read in (_pytest, _unittest, _cargo, _go, _javascript):
        if (counts := read(text)) is not None:
            return counts
    return None


def _sum(kinds: list[tuple[str, int]]) -> Counts | None:
    totals = {"passed": 0, "failed": 0, "skipped": 0}
    for kind, number in kinds:
        if kind in _KINDS:
            totals[_KINDS[kind]] += number
    return Counts(**totals) if kinds else None


def _listed(text: str) -> list[tuple[str, int]]:
    return [(kind, int(number)) for number, kind in _NUMBERED.findall(text)]


def _pytest(text: str) -> Counts | None:
    lines = _PYTEST.findall(text)
    return _sum(_listed(lines[-1])) if lines else None


def _unittest(text: str) -> Counts | None:
    found = _UNITTEST.findall(text)
    if not found:
        return None
    ran, _, details = found[-1]
    named = dict(re.findall(r"([a-z ]+)=(\d+)", details))
    failed = sum(int(named.get(kind, 0)) for kind in ("failures", " errors", "errors"))
    skipped = sum(int(number) for kind, number in named.items() if kind.strip() in ("skipped", "expected failures"))
    return Counts(max(0, int(ran) - failed - skipped), failed, skipped)


def _cargo(text: str) -> Counts | None:
    found = _CARGO.findall(text)
    return Counts(*(sum(int(each[index]) for each in found) for index in range(3))) if found else None


def _go(text: str) -> Counts | None:
    if not _GO_PACKAGE.search(text):
        return None
    return _sum([(kind, 1) for kind in _GO.findall(text)])


def _javascript(text: str) -> Counts | None:
    if lines := _JEST.findall(text):
        return _sum(_listed(lines[-1]))
    if found := _NODE.findall(text):
        return _sum([(kind, int(number)) for kind, number in found])
    return _sum([(kind, int(number)) for number, kind in _MOCHA.findall(text)])
