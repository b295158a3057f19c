"""Masking: what is known to be a secret never leaves a tool, reaches an event, the audit or a log (CONTRACT §2).

Known values (the server's own keys, as they are and as they are commonly spelled) are replaced by `MASK`, credentials
that are known by their form by a mark with their kind, e.g. `[secret:github]`.

A text is gone through once, from left to right. What looks like a secret is found first; what overlaps becomes one; a
word that begins where a secret ended counts as a word of its own. Hence mask(mask(x)) == mask(x), and a stream knows of
every place whether what comes later may still change what is shown before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from session.credentials import MOST_CHARS, TOKENS, Token, end_of_run
from session.leads import LEAD_CHARS, LEDS, Led, is_secret_under
from session.pem import HEAD, blocks
from session.spelling import spellings

MASK: Final = "[secret]"
"""Stands for a known value."""


def _mark(kind: str) -> str:
    return f"[secret:{kind}]"


_KEY_MARK: Final = _mark("privatekey")
_VALUE_MARK: Final = _mark("value")
_MARKS: Final = frozenset({MASK, _KEY_MARK, *(_mark(one.kind) for one in (*TOKENS, *LEDS))})


def _beginnings(whole: Iterable[str]) -> frozenset[str]:
    return frozenset(one[:k] for one in whole for k in range(1, len(one)))


_BEGUN_TOKENS: Final = _beginnings(head for one in TOKENS for head in one.heads)


class _Found(NamedTuple):
    """A secret at text[start:end]; `end` is -1 where it depends on what follows whether it is one. `needs`: it is one
    only if another secret ends at that place (-1: it is one anyway)."""

    start: int
    end: int
    mark: str
    needs: int = -1


class Masker:
    """Masks text and JSON values. `values`: secrets known in plain text; those shorter than 6 characters are left,
    since masking them would destroy text. Takes time linear in the text."""

    def __init__(self, values: Sequence[str] = ()) -> None:
        self._known = spellings(values, _MARKS)
        self._begun = _beginnings((*self._known, HEAD))
        self._longest = max(map(len, self._begun | _BEGUN_TOKENS))

    def mask(self, text: str) -> str:
        """The text with every secret replaced."""
        found = self.find(text, 0, final=True)
        return _render(text, 0, found, 0)[0] if found else text

    def value(self, value: Any) -> Any:
        """The same JSON value with its strings masked, keys of objects included; so is what looks random under a key
        such as `api_key`. Keys that become equal are numbered."""
        if isinstance(value, str):
            return self.mask(value)
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        if not isinstance(value, dict):
            return value
        masked: dict[Any, Any] = {}
        for key, item in value.items():
            shown = self.value(item)
            if isinstance(key, str) and isinstance(item, str) and shown == item and is_secret_under(key, item):
                shown = _VALUE_MARK
            masked[_free(self.mask(key) if isinstance(key, str) else key, masked)] = shown
        return masked

    def stream(self) -> MaskedStream:
        """A new stream, for one text that comes in pieces."""
        return MaskedStream(self)

    def find(self, text: str, begin: int, *, final: bool) -> list[_Found]:
        """All that looks like a secret and begins at or after `begin`, in order; unless `final`, also what may become
        one. What stands before `begin` is looked at, since it may lead to what follows."""
        found = [*self._known_values(text, begin)]
        for token in TOKENS:
            found += _tokens(token, text, begin, final=final)
        low = _lowered(text)
        for led in LEDS:
            if led.find in low:
                found += _led(led, text, low, begin, final=final)
        found += [_Found(start, end, _KEY_MARK) for start, end in blocks(text, begin, final=final)]
        if not final:
            found += self._begun_at_the_end(text, begin)
        found.sort(key=lambda one: (one.start, one.end >= 0))  # what is open settles nothing behind it
        return found

    def _known_values(self, text: str, begin: int) -> Iterator[_Found]:
        for known in self._known:
            at = text.find(known, begin)
            while at >= 0:
                yield _Found(at, at + len(known), MASK)
                at = text.find(known, at + 1)

    def _begun_at_the_end(self, text: str, begin: int) -> Iterator[_Found]:
        """What the text ends with and a secret begins with."""
        for at in range(max(begin, len(text) - self._longest), len(text)):
            end = text[at:]
            if end in self._begun:
                yield _Found(at, -1, "")
            elif end in _BEGUN_TOKENS:
                yield _Found(at, -1, "", -1 if TOKENS[0].may_begin(text, at) else at)


def _lowered(text: str) -> str:
    """In lower case, each character at its place: one character alone becomes two in lower case."""
    low = text.lower()
    return low if len(low) == len(text) else text.replace("\u0130", "I").lower()


def _tokens(token: Token, text: str, begin: int, *, final: bool) -> Iterator[_Found]:
    run_end = 0
    at = text.find(token.find, begin + token.back) - token.back
    while at >= begin:
        head = token.head_at(text, at)
        if head:
            body = at + head
            run_end = run_end if body < run_end else end_of_run(token.run, text, body)
            is_open = not final and min(run_end, at + MOST_CHARS) == len(text)
            end = -1 if is_open else token.end(text, at, body, run_end)
            if is_open or end >= 0:
                yield _Found(at, end, _mark(token.kind), -1 if token.may_begin(text, at) else at)
        at = text.find(token.find, at + token.back + 1) - token.back


def _led(led: Led, text: str, low: str, begin: int, *, final: bool) -> Iterator[_Found]:
    run_end = 0
    at = low.find(led.find)
    while at >= 0:
        lead = led.lead.match(low, at)
        start = lead.end() if lead else -1
        is_named = led.is_named(text, at) if begin <= start < len(text) else False
        if is_named or (begin <= start < len(text) and led.may_be_first):
            run_end = run_end if start < run_end else end_of_run(led.run, text, start)
            most = min(run_end, start + MOST_CHARS)
            is_open = not final and most == len(text)
            end = -1 if is_open else led.end(text, start, most)
            if is_open or end >= 0:
                yield _Found(start, end, _mark(led.kind), -1 if is_named else at)
        at = low.find(led.find, at + 1)


def _render(text: str, begin: int, found: list[_Found], secret_end: int) -> tuple[str, int, int]:
    """What text[begin:] is shown as, up to which place, and where the last secret before it ends. A secret that was
    begun before goes on to `secret_end`. It goes as far as nothing depends on what follows the text."""
    pieces: list[str] = []
    at, upto = max(begin, secret_end), len(text)
    for one in found:
        if one.needs not in (-1, secret_end):
            continue
        if one.end < 0:
            upto = one.start
            break
        if one.start >= secret_end:
            pieces += (text[at : one.start], one.mark)
        at = secret_end = max(secret_end, one.end)
    pieces.append(text[at:upto])
    return "".join(pieces), upto, secret_end


def _free(key: Any, taken: dict[Any, Any]) -> Any:
    """The key, numbered where it is taken: what two secrets were the keys of stays two members."""
    number, free = 2, key
    while free in taken:
        number, free = number + 1, f"{key} ({number})"
    return free


class MaskedStream:
    """Masks text that comes in pieces: what may be the beginning of a secret is held back until it is known. What is
    shown, put together, is the masked text, wherever it was cut. Holds back at most 8,000 characters (or what the
    longest known value has)."""

    def __init__(self, masker: Masker) -> None:
        self._masker = masker
        self._text = ""  # what led here, then what is held back
        self._begin = 0  # of what is held back
        self._secret_end = 0

    @property
    def held(self) -> int:
        """How many characters are held back."""
        return len(self._text) - self._begin

    def feed(self, text: str) -> str:
        """What may be shown after this piece."""
        return self._show(text, final=False)

    def flush(self) -> str:
        """What was held back, masked; the stream is over."""
        return self._show("", final=True)

    def _show(self, piece: str, *, final: bool) -> str:
        text = self._text + piece
        found = self._masker.find(text, self._begin, final=final)
        shown, upto, secret_end = _render(text, self._begin, found, self._secret_end)
        cut = max(0, upto - LEAD_CHARS)
        self._text, self._begin, self._secret_end = text[cut:], upto - cut, max(secret_end - cut, 0)
        return shown
