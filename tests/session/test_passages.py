"""Passages: texts are cut where they may be cut, and can be read from their pieces again."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session.passages import MOST_CHARS, TARGET_CHARS, Piece, joined, lines_of, pieces_of

NOTES = """\
# Database

Use SQLite.

## Backups

Nightly.
```sh
# not a heading
backup --all
```

## Restore
"""


def test_a_heading_begins_a_piece_and_stands_with_all_that_is_below_it() -> None:
    assert [(piece.start_line, piece.end_line, piece.heading) for piece in pieces_of(NOTES)] == [
        (1, 4, "Database"),
        (5, 12, "Database > Backups"),
        (13, 13, "Database > Restore"),
    ]


def test_headings_without_text_between_them_stay_together_and_underlined_titles_are_headings() -> None:
    text = "Title\n=====\n\nPart\n----\n\nwords\n\n# Next\nmore"
    assert [(piece.start_line, piece.end_line, piece.heading) for piece in pieces_of(text)] == [
        (1, 8, "Title > Part"),
        (9, 10, "Next"),
    ]


def test_a_long_text_ends_its_pieces_with_paragraphs() -> None:
    paragraph = "word " * 100
    pieces = pieces_of("\n\n".join([paragraph] * 10))
    assert len(pieces) > 3
    for piece in pieces[:-1]:
        assert TARGET_CHARS <= len(piece.text) <= MOST_CHARS and piece.text.endswith("\n")


def test_a_line_that_is_too_long_is_cut_and_keeps_its_number() -> None:
    text = "first\n" + "x" * (3 * MOST_CHARS) + "y\nlast"
    pieces = pieces_of(text)
    assert [(piece.start_line, piece.end_line) for piece in pieces] == [(1, 1), (2, 2), (2, 2), (2, 2), (2, 3)]
    assert joined(pieces) == lines_of(text)


def test_text_that_is_added_goes_on_below_the_headings_above_it() -> None:
    assert pieces_of("more", 7, "Database > Backups") == [Piece(7, 7, "Database > Backups", "more")]
    assert pieces_of("# New\nmore", 7, "Session")[0].heading == "Session > New"


LINE = st.text(alphabet="ab #=-`~\t", max_size=12) | st.sampled_from(["", "```", "# h", "===", "z" * 5_000, "w" * 900])


@given(st.lists(LINE, max_size=40))
def test_the_pieces_are_the_lines_of_the_text_and_none_is_longer_than_it_may_be(lines: list[str]) -> None:
    text = "\n".join(lines)
    pieces = pieces_of(text)
    whole = lines_of(text)
    if not any(line.strip() for line in whole):
        assert pieces == []
        return
    assert joined(pieces) == whole
    assert (pieces[0].start_line, pieces[-1].end_line) == (1, len(whole))
    for before, after in pairwise(pieces):
        assert after.start_line in (before.end_line, before.end_line + 1)
    assert all(piece.text.strip() for piece in pieces)
    assert all(len(piece.text.strip()) <= 2 * MOST_CHARS for piece in pieces)


def test_every_kind_of_line_end_counts_once() -> None:
    assert lines_of("a\r\nb\rc\n") == ["a", "b", "c"]
    assert lines_of("") == []


@pytest.mark.parametrize("text", ["\n" * 8_000 + "end", "# " + " " * 30_000 + "end"], ids=["lines", "heading"])
def test_a_long_run_of_blanks_is_cut_in_no_time(text: str) -> None:
    """Each took seconds, and hours in a file as long as may be."""
    began = time.thread_time()
    pieces = pieces_of(text)
    assert time.thread_time() - began < 1
    assert pieces[0].text.startswith(text[:1]) and pieces[-1].text.endswith("end")


@pytest.mark.parametrize(
    ("line", "title"),
    [
        ("# a ##", "a"),
        ("# a#", "a#"),
        ("# ##", ""),
        ("#", ""),
        ("## \t a  # \t", "a"),
        ("#a", "none"),
        ("####### a", "none"),
    ],
)
def test_the_signs_that_end_a_heading_are_no_part_of_it(line: str, title: str) -> None:
    heading = pieces_of(f"above\n\n{line}\n\nbelow", above="none")[-1].heading
    assert heading == (title if title == "none" else " > ".join(part for part in ("none", title) if part))
