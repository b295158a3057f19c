"""Identifiers: a prefix and 26 characters that sort by time and are URL-safe (CONTRACT §1).

Pure: the caller gives the time and the randomness, so the same inputs give the same id.
"""

from typing import Final, Literal

Prefix = Literal["conv", "msg", "sess", "appr", "dec", "aud", "mem", "memf", "memc"]

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32, lower case: sorts as its bytes do
RANDOM_BYTES: Final = 10


def make_id(prefix: Prefix, now_ms: int, random: bytes) -> str:
    """Return e.g. `sess_01k…`: 48 bits of Unix ms, then 80 random bits (the layout of a ULID)."""
    value = (now_ms << 80) | int.from_bytes(random[:RANDOM_BYTES], "big")
    chars = [_ALPHABET[(value >> shift) & 31] for shift in range(125, -1, -5)]
    return f"{prefix}_{''.join(chars)}"
