"""Claims about masking: secrets go, code stays, twice is once, and a cut changes nothing."""

import json
import random
from base64 import b64encode
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from session.credentials import MOST_CHARS
from session.masking import MASK, Masker

KEY = "sk-survival-key-0123"
PASSWORD = 'p@ss w/ord"1é'
KNOWN = [KEY, PASSWORD, "aaaaaa", "]odd[", "abcdef", "secret", "hunter2[s"]
RANDOM = "a1B2c3D4e5F6g7H8i9J0"
BODY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n"

TOKENS = {
    "anthropic": ["sk-ant-api03-abcdefghijklmnop-qrstuvwxyz_AA"],
    "openai": ["sk-proj-abc123def456ghi789jkl012", "sk-" + RANDOM * 2],
    "github": [head + RANDOM + "abcdefghij123456" for head in ("ghp_", "gho_", "ghs_", "ghu_", "ghr_", "github_pat_")],
    "gitlab": ["glpat-abcdefghij1234567890", "glpat-abcdefghij1234567890abcdefg.01.0a1b2c3d4"],
    "slack": ["xoxb-123456789012-abcdefABCDEF", "xoxp-123456789012-1234", "xapp-1-A0123-0123456789-abcdef"],
    "aws": ["AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE"],
    "google": ["AIzaSyA-1234567890abcdefghijklmnopqrstu"],
    "stripe": ["sk_live_abcdefghij1234567890", "rk_live_abcdefghij1234567890", "sk_test_abcdefghij1234567890"],
    "npm": ["npm_abcdefghijklmnopqrstuvwxyz0123456789"],
    "pypi": ["pypi-AgEIcHlwaS5vcmcCJGFiY2RlZmdoLWlqa2wtbW5vcC1xcnN0LXV2d3h5ejAxMjM0NQ"],
    "huggingface": ["hf_abcdefghijklmnopqrstuvwxyzABCDEFGH"],
    "jwt": ["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"],
    "privatekey": [
        f"-----BEGIN {kind}-----\n{BODY * 20}abc=\n-----END {kind}-----"
        for kind in ("PRIVATE KEY", "RSA PRIVATE KEY", "OPENSSH PRIVATE KEY", "PGP PRIVATE KEY BLOCK")
    ],
}


@pytest.fixture(scope="module")
def masker() -> Masker:
    return Masker(KNOWN)


@pytest.mark.parametrize(("kind", "token"), [(kind, token) for kind, tokens in TOKENS.items() for token in tokens])
@pytest.mark.parametrize(
    "around", ["{}", "export X={} # mine", '{{"a": "{}"}}', "é {}.", "https://h/?k={}&b=1", "({})"]
)
def test_a_token_is_replaced_by_a_mark_that_keeps_its_kind(kind: str, token: str, around: str) -> None:
    assert Masker().mask(around.format(token)) == around.format(f"[secret:{kind}]")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abcdefg123", "Authorization: Bearer [secret:authorization]"),
        ("> authorization: Basic dXNlcjpwYXNz", "> authorization: Basic [secret:authorization]"),
        ('{"Authorization": "token abcdefg123"}', '{"Authorization": "token [secret:authorization]"}'),
        (f"-H 'X: Bearer {RANDOM}'", "-H 'X: Bearer [secret:authorization]'"),
        ("postgres://me:hunter2@db/x", "postgres://me:[secret:url]@db/x"),
        ("redis://:hun@ter2@cache:6379/0", "redis://:[secret:url]@cache:6379/0"),
        (f"OPENAI_API_KEY={RANDOM}", "OPENAI_API_KEY=[secret:value]"),
        (f"apiKey: '{RANDOM}'", "apiKey: '[secret:value]'"),
        (f"DB_PASSWORD={RANDOM}\nX=1", "DB_PASSWORD=[secret:value]\nX=1"),
        (f'{{"client_secret": "{RANDOM}"}}', '{"client_secret": "[secret:value]"}'),
        (f'"{{\\"token\\": \\"{RANDOM}\\"}}"', '"{\\"token\\": \\"[secret:value]\\"}"'),
        (
            "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "aws_secret_access_key = [secret:value]",
        ),
        (f"-----BEGIN RSA PRIVATE KEY-----\n{BODY * 3}", "[secret:privatekey]\n"),
        (json.dumps(f"-----BEGIN PRIVATE KEY-----\n{BODY}-----END PRIVATE KEY-----\n"), '"[secret:privatekey]\\n"'),
    ],
)
def test_a_secret_is_known_by_what_stands_before_it(text: str, shown: str) -> None:
    assert Masker().mask(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        'api_key = os.environ["OPENAI_API_KEY"]',
        "api_key = settings.providers.openai_key",
        "password: str",
        "password: SecretStr | None = Field(None)",
        "token = next_token_of_type_2(lexer, 1234)",
        "secret = derive_secret_from_seed_v2[index]",
        "max_tokens: 4096",
        "next_token=abcdefgh12345678901",
        "PublicKeyToken=b77a5c561934e089",
        "API_KEY=$OPENAI_API_KEY_2024_PROD",
        "password = '%(database_password_1)s'",
        "private_key: /home/deploy/keys/id_rsa_2048",
        "key: abcdefgh12345678901",
        'cache-key = "linux-deps-2f3a8b1c9d0e"',
        "Authorization: Bearer <your token>",
        "Authorization: Bearer $TOKEN",
        "Authorization: Bearer your-token-here",
        "bearer of good news 12345678901234567",
        "postgresql://user:password@host/database",
        "postgresql://user:${PASSWORD}@host/database",
        "http://localhost:3000/a@b",
        "see http://host:8080 or mail me@example.org",
        "task-12345678901234567890 and risk-assessment-of-2024-and-2025",
        "sk-learn is a typo for scikit-learn-and-friends",
        ".sk-folding-cube .sk-cube-one-of-many-cubes",
        "npm_config_registry npm_package_json hf_hub_download",
        "ghp_short AKIASHORT eyJust a word",
        "-----BEGIN CERTIFICATE-----\n" + BODY + "-----END CERTIFICATE-----",
        "-----BEGIN PUBLIC KEY-----\n" + BODY + "-----END PUBLIC KEY-----",
        "3f2a9c1d4b5e6f708192a3b4c5d6e7f8091a2b3c",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "123e4567-e89b-12d3-a456-426614174000",
    ],
)
def test_code_and_ordinary_text_stay_as_they_are(text: str) -> None:
    assert Masker().mask(text) == text


@pytest.mark.parametrize(
    "spelled",
    [
        PASSWORD,
        quote(PASSWORD, safe=""),
        json.dumps(PASSWORD)[1:-1],
        json.dumps(PASSWORD, ensure_ascii=False)[1:-1],
        PASSWORD.encode().hex(),
    ],
)
def test_a_known_value_is_masked_however_it_is_spelled(masker: Masker, spelled: str) -> None:
    assert masker.mask(f"x{spelled}y") == f"x{MASK}y"


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_a_known_value_is_masked_in_base64_wherever_it_stands(before: bytes, after: bytes) -> None:
    encoded = b64encode(before + KEY.encode() + after).decode()
    shown = Masker([KEY]).mask(encoded)
    assert MASK in shown
    left, right = shown.split(MASK, 1)
    # What is left tells at most the bits that a character at either edge shares with its neighbour.
    assert len(left) <= -(-len(before) * 8 // 6) and len(right) <= -(-(len(after) + 2) * 8 // 6) + 3


def test_short_values_and_values_that_are_words_of_marks_are_left() -> None:
    assert Masker(["abc", "12345", "", "secret", "github"]).mask("abc 12345 secret github") == "abc 12345 secret github"


def test_of_overlapping_secrets_nothing_is_left() -> None:
    assert Masker(["abcdefgh", "efghijkl"]).mask("-abcdefghijkl-") == f"-{MASK}-"
    assert Masker(["tail-of-it"]).mask("ghp_" + RANDOM + "tail-of-it!") == "[secret:github]!"


def test_objects_keep_all_their_members() -> None:
    value = {KEY: 1, "abcdef": [KEY, {"x": f"a {KEY}"}], MASK: None, "n": 2.5, "b": True, "t": (1, "abcdef")}
    shown = {MASK: 1, f"{MASK} (2)": [MASK, {"x": f"a {MASK}"}], f"{MASK} (3)": None, "n": 2.5, "b": True}
    masked = Masker([KEY, "abcdef"]).value(value)
    assert masked == {**shown, "t": [1, MASK]}
    assert Masker([KEY, "abcdef"]).value(masked) == masked


def test_a_field_with_a_telling_name_is_masked_and_a_plain_one_is_not() -> None:
    value = {"apiKey": RANDOM, "password": RANDOM, "path": RANDOM, "token": "read me first, 123456", "secret": "short1"}
    assert Masker().value(value) == {**value, "apiKey": "[secret:value]", "password": "[secret:value]"}


# Any text of beginnings, middles and ends of secrets.
FRAGMENTS = [
    *("ghp_", "github_pat_", "glpat-", "sk-", "sk-ant-", "xoxb-", "xapp-", "AKIA", "AIza", "sk_live_", "npm_", "hf_"),
    *("pypi-AgE", "eyJ", "eyJhbGciOi.eyJzdWIiOi.sig", "-----BEGIN ", "-----BEGIN PRIVATE KEY-----", "PRIVATE KEY-----"),
    *("-----END PRIVATE KEY-----", "Authorization: Bearer ", "authorization", "bearer ", "basic ", "password", "token"),
    *("passwd: ", "secret", "api_", "key", "_KEY", "API_", "://", "user:", "@host", ":", "=", "=>", '"', "'", '\\"'),
    *(" ", "\n", "\\n", "(", "[", "]", MASK, "[secret:github]", ".", "/", "-", "_", "%", "x", "A", "1", "İ", "é", "→"),
    *(RANDOM, RANDOM * 2, BODY, b64encode(KEY.encode()).decode(), *KNOWN),
]
TEXTS = st.lists(
    st.one_of(st.sampled_from(FRAGMENTS), st.sampled_from(FRAGMENTS).map(lambda one: one[:3])), max_size=14
).map("".join)


@settings(max_examples=400)
@given(TEXTS)
def test_masking_twice_is_masking_once(text: str) -> None:
    once = _MASKER.mask(text)
    assert _MASKER.mask(once) == once


@settings(max_examples=400)
@given(TEXTS, st.integers(1, 40), st.randoms(use_true_random=False))
def test_a_stream_shows_the_masked_text_wherever_it_is_cut(text: str, most: int, dice: random.Random) -> None:
    stream, shown, at = _MASKER.stream(), [], 0
    while at < len(text):
        size = dice.randint(1, most)
        shown.append(stream.feed(text[at : at + size]))
        at += size
    assert "".join([*shown, stream.flush()]) == _MASKER.mask(text)


_MASKER = Masker(KNOWN)


@pytest.mark.parametrize("text", [token for tokens in TOKENS.values() for token in tokens[:2]] + [KEY, PASSWORD])
def test_a_secret_cut_at_any_place_is_never_shown_in_part(masker: Masker, text: str) -> None:
    whole = f"a {text} b"
    for cut in range(len(whole)):
        stream = masker.stream()
        shown = stream.feed(whole[:cut]) + stream.feed(whole[cut:]) + stream.flush()
        assert shown == masker.mask(whole)


def test_ordinary_output_is_not_held_back(masker: Masker) -> None:
    stream = masker.stream()
    for piece in (".", "..F.", "=====", " 12%", "passed in 0.3s\n", "Downloading 3 of 10", "\r", "é→", "http://h/x "):
        assert stream.feed(piece) == piece
    assert stream.feed("password: ") == "password: "
    assert stream.flush() == ""


def test_what_is_held_back_comes_when_it_turns_out_to_be_nothing(masker: Masker) -> None:
    stream = masker.stream()
    assert stream.feed("a sk-short") == "a "
    assert stream.feed(" b") == "sk-short b"
    assert stream.feed("API_KEY=a1") == "API_KEY="
    assert stream.feed("\n") == "a1\n"
    assert stream.feed("-----BEGIN PRIVATE KEY-----\nno ") == ""
    assert stream.flush() == "-----BEGIN PRIVATE KEY-----\nno "


@pytest.mark.parametrize(
    "begun", ["sk-ant-", "API_KEY=a1", "-----BEGIN PRIVATE KEY-----\n", "eyJ", "://u:", "sk-", "ghp_"]
)
@pytest.mark.parametrize("more", ["Zx", "a b\n", "=", ".", "sk-", "eyJ"])
def test_what_is_held_back_is_bounded(masker: Masker, begun: str, more: str) -> None:
    stream, fed = masker.stream(), begun + more * (30_000 // len(more))
    for at in range(0, len(fed), 1_000):
        stream.feed(fed[at : at + 1_000])
        assert stream.held <= MOST_CHARS


def test_a_run_without_end_is_shown_as_one_mark_and_what_is_beyond_the_bound(masker: Masker) -> None:
    text = "sk-ant-" + "Zx" * 20_000
    stream = masker.stream()
    shown = "".join(stream.feed(text[at : at + 100]) for at in range(0, len(text), 100))
    assert shown + stream.flush() == masker.mask(text) == "[secret:anthropic]" + text[MOST_CHARS:]
