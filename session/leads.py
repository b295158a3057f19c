"""Secrets that are known by what stands before them: a telling name, an Authorization header, the user in a URL.

Only the value is a secret, and only one that looks random: `api_key = os.environ["KEY"]`, `password: str` and
`token = next_token(lexer)` are code that a model must be able to read and edit. See session.credentials for the rules
that all forms keep.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from session.credentials import JUDGED_CHARS, count_digits

LEAD_CHARS: Final = 128
"""No lead is longer, with what is looked at on its left."""
_LEFT_CHARS: Final = 16

_VALUE: Final = re.compile(r"[A-Za-z0-9_+/=.~!@#$%^*-]*")
_SENT: Final = re.compile(r"[A-Za-z0-9_+/=.~-]*")
_LOGIN: Final = re.compile(r"[^\s/\"'<>`\\\[\]]*")

_BEFORE_KEY: Final = re.compile(
    r"(?:(?i:api|secret|access|private|auth|signing|encryption|account|master|shared|subscription|license)[_-]?"
    r"|[A-Z0-9]_)\Z"
)
_BEFORE_TOKEN: Final = re.compile(
    r"(?:\A|[^A-Za-z0-9_-]|[A-Z0-9]_"
    r"|(?i:access|auth|api|bearer|refresh|bot|id|session|secret|deploy|personal|private|service|vault|github|gitlab"
    r"|slack|npm|hf|registry|app)[_-]?)\Z"
)

Fits = Callable[[str, int, int], bool]
"""Whether text[start:end] is a secret; asked once it is known where the value ends."""


@dataclass(frozen=True, slots=True)
class Led:
    """A value behind a lead. `find` and then `lead` are looked for in the text in lower case; the value is the run that
    begins where the lead ends, up to the last `until` in it. `left` is searched in what stands before the lead."""

    kind: str
    find: str
    lead: re.Pattern[str]
    run: re.Pattern[str]
    fits: Fits
    left: re.Pattern[str] | None = None
    until: str = ""

    def is_named(self, text: str, at: int) -> bool:
        """What stands before the lead makes it one."""
        return self.left is None or self.left.search(text[max(0, at - _LEFT_CHARS) : at]) is not None

    @property
    def may_be_first(self) -> bool:
        """It is a lead where nothing stands before it."""
        return self.left is not None and self.left.search("") is not None

    def end(self, text: str, start: int, run_end: int) -> int:
        """Where the value ends that begins at `start`; -1 when it is no secret."""
        end = text.rfind(self.until, start, run_end) if self.until else run_end
        return end if end > start and self.fits(text, start, end) else -1


_NO_VALUE: Final = re.compile(r"[.~$%*]|/[a-z]+/")
"""Paths, variables and templates in the place of a value."""


def looks_random(value: str, *, quoted: bool) -> bool:
    """Nobody wrote it by hand as a name or a word: it is long, of letters and digits, many of them different. What
    begins with such a value looks random as well."""
    if len(value) < 16 or _NO_VALUE.match(value):
        return False
    value = value[:JUDGED_CHARS]
    digits = count_digits(value)
    lower = sum(map(str.islower, value))
    upper = sum(map(str.isupper, value))
    if digits == 0 or lower + upper == 0 or len(set(value)) < 10:
        return False
    return digits > 2 or (min(lower, upper) > 1 and (quoted or any(one in value for one in "+/=")))


def _assigned(text: str, start: int, end: int) -> bool:
    is_code = text.startswith(("(", "["), end)  # a call, a look-up
    return not is_code and looks_random(text[start : min(end, start + JUDGED_CHARS)], quoted=text[start - 1] in "\"'")


def _sent(text: str, start: int, end: int) -> bool:
    """Credentials of a header: base64 for `Basic`, where a token has a digit and a placeholder has not."""
    is_basic = "basic" in text[max(0, start - 8) : start].lower()
    return end - start >= 8 and (is_basic or count_digits(text[start : min(end, start + JUDGED_CHARS)]) > 0)


_PLACEHOLDER: Final = re.compile(
    r"[$%*{(]|(?:password|passwd|passphrase|pass|pwd|secret|token|user|x+)@", re.IGNORECASE
)


def _login(text: str, start: int, end: int) -> bool:
    return _PLACEHOLDER.match(text, start, end + 1) is None


_IS: Final = r"(?:\\?[\"'])?[ \t]{0,3}(?::=|=>|[:=])[ \t]{0,3}(?:\\?[\"'])?"


def _named(name: str, left: re.Pattern[str] | None = None) -> Led:
    return Led("value", name, re.compile(re.escape(name) + _IS), _VALUE, _assigned, left)


_HEADER: Final = re.compile(
    r"authorization(?:\\?[\"'])?[ \t]{0,3}[:=,][ \t]{0,3}(?:\\?[\"'])?(?:bearer|token|basic)[ \t]{1,3}"
)
_BEARER: Final = re.compile(r"bearer[ \t]{1,3}")
_USER: Final = re.compile(r"://[^\s/:@\"'<>`\\\[\]]{0,64}:")

LEDS: Final = (
    _named("key", _BEFORE_KEY),
    _named("token", _BEFORE_TOKEN),
    _named("secret"),
    _named("password"),
    _named("passwd"),
    _named("passphrase"),
    Led("authorization", "authorization", _HEADER, _SENT, _sent),
    Led("authorization", "bearer ", _BEARER, _SENT, _assigned, re.compile(r"(?:\A|\W)\Z")),
    Led("url", "://", _USER, _LOGIN, _login, until="@"),
)


def is_secret_under(name: str, value: str) -> bool:
    """A field of this name holds a secret with this value."""
    low = name.lower()
    named = (one for one in LEDS if one.kind == "value" and low.endswith(one.find))
    if not any(one.is_named(name, len(name) - len(one.find)) for one in named):
        return False
    return _VALUE.fullmatch(value) is not None and looks_random(value, quoted=True)
