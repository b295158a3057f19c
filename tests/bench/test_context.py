"""The benchmark of context compaction measures what it says, on a short session."""

from __future__ import annotations

from bench import context


async def test_a_session_in_a_small_window_is_compacted_and_answers_with_the_fact_of_its_first_step() -> None:
    seen = await context.play(11_000, steps=9)
    assert seen.summaries >= 1 and not seen.refusals and max(seen.prompts) <= 11_000
    assert context.FACT in seen.answer
    assert "| compactions |" in context.table(seen, seen)
