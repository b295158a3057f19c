"""What credentials look like that begin with a mark of their issuer.

The forms are the issuers' own, as they publish them for secret scanning. Two rules, here and in session.leads, keep
masking the same however a text is cut (session.masking): whether and how far a form matches is known once its run of
characters has ended or has reached `MOST_CHARS`; and a form that matches a text also matches when the text goes on, so
it has lower bounds but no refusal of what is too long. No run has `[` or `]`, so what was masked is never part of one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MOST_CHARS: Final = 8_000
"""How much of a run is taken for one credential."""

JUDGED_CHARS: Final = 64
"""By how much of a run it is judged whether it is random: a text may have as many beginnings of runs as characters."""

_WORD: Final = re.compile(r"[A-Za-z0-9_-]*")
_PLAIN: Final = re.compile(r"[A-Za-z0-9]*")
_UPPER: Final = re.compile(r"[A-Z0-9]*")
_DOTTED: Final = re.compile(r"[A-Za-z0-9_.-]*")
_GITLAB: Final = re.compile(r"glpat-[\w-]{20,300}(?:\.[\w-]{1,64}){0,3}", re.ASCII)
_JWT: Final = re.compile(r"eyJ[\w-]{6,512}\.eyJ[\w-]{6,}(?:\.[\w-]*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Token:
    """A credential that begins with one of `heads`, followed by at least `least` characters of its run, `digits` digits
    among them. It is found by looking for `find`, which begins `back` characters behind it. `exact`: what of head and
    run it is, where that is not all. `apart`: it does not stand behind `_` or `-` either, as no token stands behind a
    letter or digit."""

    kind: str
    heads: tuple[str, ...]
    find: str
    run: re.Pattern[str] = _PLAIN
    least: int = 20
    digits: int = 0
    back: int = 0
    exact: re.Pattern[str] | None = None
    apart: bool = False

    def head_at(self, text: str, at: int) -> int:
        """Length of the head that stands there, 0 for none."""
        return next((len(head) for head in self.heads if text.startswith(head, at)), 0)

    def end(self, text: str, at: int, body: int, run_end: int) -> int:
        """Where the token ends that begins at `at`, and its run at `body`; -1 when it is none."""
        end = min(run_end, at + MOST_CHARS)
        if end - body < self.least:
            return -1
        if self.digits and count_digits(text[body : min(end, body + JUDGED_CHARS)]) < self.digits:
            return -1
        if self.exact is None:
            return end
        found = self.exact.match(text, at, end)
        return found.end() if found else -1

    def may_begin(self, text: str, at: int) -> bool:
        """It is not the middle of a word there."""
        before = text[at - 1] if at else " "
        return not (before.isascii() and (before.isalnum() or (self.apart and before in "_-")))


def end_of_run(run: re.Pattern[str], text: str, at: int) -> int:
    found = run.match(text, at)
    return found.end() if found else at


def count_digits(text: str) -> int:
    return sum(map(text.count, "0123456789"))


TOKENS: Final = (
    Token("anthropic", ("sk-ant-",), "sk-ant-", _WORD, 16),
    Token("openai", ("sk-",), "sk-", _WORD, digits=2),
    Token("github", ("ghp_", "gho_", "ghs_", "ghu_", "ghr_"), "gh"),
    Token("github", ("github_pat_",), "github_pat_", _WORD),
    Token("gitlab", ("glpat-",), "glpat-", _DOTTED, exact=_GITLAB),
    Token("slack", tuple(f"xox{one}-" for one in "abeprs"), "xox", _WORD, 10, digits=2),
    Token("slack", ("xapp-",), "xapp-", _WORD, 10, digits=2),
    Token("aws", ("AKIA",), "AKIA", _UPPER, 16),
    Token("aws", ("ASIA",), "ASIA", _UPPER, 16),
    Token("google", ("AIza",), "AIza", _WORD, 30),
    Token("stripe", ("sk_live_", "rk_live_"), "k_live_", least=10, back=1),
    Token("stripe", ("sk_test_", "rk_test_"), "k_test_", least=10, back=1),
    Token("npm", ("npm_",), "npm_", least=30),
    Token("pypi", ("pypi-AgE",), "pypi-AgE", _WORD, 40),
    Token("huggingface", ("hf_",), "hf_", least=30),
    Token("jwt", ("eyJ",), "eyJ", _DOTTED, 16, exact=_JWT, apart=True),
)
