"""The check of what a reader saw finds what it is there to find: it is given views in which something is wrong."""

from __future__ import annotations

import json

import httpx

from tests.survival.promises import Verdict, check_view
from tests.survival.reader import Reader, Seen

WHOLE = ("1", "2", "2.1", "2.2", "3")


async def _verdict(*ids: str) -> Verdict:
    """Of a reader that got these ids, where everybody gets the facts 1, 2, 3 afterwards."""
    async with httpx.AsyncClient() as http:
        readers = [Reader(http, "", "sess_x"), Reader(http, "", "sess_x")]
    for reader, got in zip(readers, (ids, ("1", "2", "3")), strict=True):
        reader.seen = [Seen(one, json.dumps({"type": "content", "data": {}, "id": one}), 0.0) for one in got]
    verdict = Verdict()
    check_view(verdict, *readers)
    return verdict


async def test_a_whole_view_is_good() -> None:
    assert not (await _verdict(*WHOLE)).broken


async def test_a_lost_fact_is_found() -> None:
    verdict = await _verdict("1", "2.1", "3")
    assert (verdict.facts_lost, bool(verdict.broken)) == (1, True)


async def test_a_doubled_fact_and_a_doubled_fragment_are_found() -> None:
    verdict = await _verdict("1", "2", "2.1", "2.1", "2", "3")
    assert (verdict.facts_doubled, verdict.deltas_doubled, bool(verdict.broken)) == (1, 1, True)


async def test_facts_out_of_order_are_found() -> None:
    verdict = await _verdict("2", "1", "3")
    assert (verdict.facts_reordered, bool(verdict.broken)) == (1, True)
