"""Words: cut the same for every database, and nothing in them that a query language could misread."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session.words import MOST_QUERY_WORDS, query_words, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Use a.b.c, create_engine()!", "use a b c create engine"),
        ("createEngine HTTPServer utf8", "createengine create engine httpserver http server utf8"),
        ("Café naïve ÜBER", "cafe naive uber"),
        ("数据库连接", "数据 据库 库连 连接"),
        ("用SQLite", "用 SQLite".lower()),
        ("한국어", "한국 국어"),
        ("a\x00b \ud800", "a b"),
        ("x" * 100, "x" * 64),
        ("", ""),
    ],
)
def test_words_are_letters_and_digits_with_blanks_between(text: str, words: str) -> None:
    assert words_of(text) == words


def test_a_query_is_looked_for_by_the_words_that_tell_something() -> None:
    assert query_words("How do I close the connection? The CONNECTION!") == ["close", "connection"]
    assert query_words("to be or not to be") == ["to", "be", "or", "not"]
    assert query_words("?!") == []
    assert len(query_words(" ".join(f"w{number}" for number in range(100)))) == MOST_QUERY_WORDS


@given(st.text())
def test_no_sign_of_a_query_language_is_left(text: str) -> None:
    assert all(re.fullmatch(r"[^\W_]+", word) for word in query_words(text)), query_words(text)
