"""The questions that memory is measured by have answers in the corpus."""

from pathlib import Path

from bench.memory import corpus
from bench.memory.questions import questions


def test_every_question_has_its_answers_in_the_corpus(tmp_path: Path) -> None:
    asked = questions()
    places = [answer for question in asked for answer in question.answers]
    written = corpus.write(tmp_path, only={path for path, _ in places})
    assert len(asked) >= 50 and len({question.asked for question in asked}) == len(asked)
    assert all(question.answers for question in asked)
    assert set(places) <= set(written.sections)
    path, section = places[0]
    first, last = written.sections[path, section]
    lines = (tmp_path / path).read_text().split("\n")
    assert lines[first - 1] == f"### {section}" and first < last <= len(lines)
