"""Claims about the time that masking takes: no text takes long, and ordinary text takes next to none."""

from __future__ import annotations

import time
from math import inf

import pytest

from session.masking import MASK, Masker

KEY = "sk-survival-key-0123"
KNOWN = [KEY, 'p@ss w/ord"1é', "aaaaaa", "]odd[", "abcdef", "secret", "hunter2[s"]
BODY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n"
TRIES = 5
"""What a busy machine adds to a measurement does not last: the best one counts."""

REPEATED = [
    *("sk-", "sk-a1", "eyJ", "eyJaaaaaa.", "gh", "ghp_", "AKIA", "glpat-a", "glpat-a.", "xoxb-1", "key=", "token: "),
    *("api_key=", "api_key=a1B2c3", "password=", "://", "://a:", "://a:b@", "bearer ", "authorization: bearer "),
    *("-----BEGIN ", "-----BEGIN PRIVATE KEY-----", f"-----BEGIN PRIVATE KEY-----\n{BODY}", "-----END ", "-", "a"),
    *("aaaaaa", MASK, '"', "\\", "İ", "=", KEY, "\n"),
]


@pytest.mark.parametrize("unit", REPEATED)
def test_no_text_takes_long(unit: str) -> None:
    """Four times the text takes about four times as long, where a quadratic search would take sixteen times."""
    masker = Masker(KNOWN)
    small, large = (unit * (chars // len(unit)) for chars in (20_000, 80_000))
    masker.mask(small)
    for_small = for_large = inf
    for _ in range(TRIES):
        for_small = min(for_small, _seconds(masker, small))
        for_large = min(for_large, _seconds(masker, large))
        if for_large < 12 * for_small + 0.05:
            return
    pytest.fail(f"{for_small * 1000:.1f} ms for {len(small)} characters, {for_large * 1000:.1f} ms for {len(large)}")


def _seconds(masker: Masker, text: str) -> float:
    """In the time of this thread alone."""
    begun = time.thread_time()
    masker.mask(text)
    return time.thread_time() - begun


def test_ordinary_text_is_masked_fast() -> None:
    text = "tests/api/test_x.py ....................... [ 12%]\n" * 20_000
    masker = Masker(KNOWN[:2])
    speed = len(text) / 1e6 / min(_seconds(masker, text) for _ in range(TRIES))
    print(f"ordinary text is masked at {speed:.0f} MB/s")
    assert speed > 10  # some 60 on a machine that does nothing else
