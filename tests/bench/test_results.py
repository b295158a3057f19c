"""Results are gathered part by part, drawn, and taken from readers that only kept what came."""

import os
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from bench import descriptors, plot, results
from bench.figures import figure
from bench.meter import Meter, spent
from bench.readers import heard
from bench.results import Measured
from bench.stand import lags_in

STAMP = 1_700_000_000_000_000_000


def lag(value: float) -> list[Measured]:
    return [Measured("embedded", "crowd-20", 0.5, 3.2, [figure("crowd-20", "delta lag p50", "ms", [value], bare=0.5)])]


def test_a_part_measured_again_replaces_its_figures_and_leaves_those_of_others(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    results.add(file, [Measured("embedded", "crowd-1", 0, 1, [figure("crowd-1", "delta lag p50", "ms", [0.41234])])])
    results.add(file, lag(9))
    results.add(file, lag(7))
    found = results.read(file)
    assert found.value("embedded", "crowd-1", "delta lag p50") == 0.412
    assert found.value("embedded", "crowd-20", "delta lag p50") == 7
    assert found.value("embedded", "crowd-20", "delta lag p50", "bare") == 0.5
    assert found.value("apart", "crowd-20", "delta lag p50") is None
    assert found.parts("embedded", "crowd") == [1, 20]


def test_the_plot_draws_what_was_measured_and_says_what_was_not(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    results.add(file, lag(7))
    drawn = plot.drawn(results.read(file))
    ET.fromstring(drawn)  # noqa: S314 (our own)
    assert drawn.count("<circle") == 2  # ours and the bare loop's
    assert drawn.count("not measured") == 3
    assert plot.drawn(results.read(tmp_path / "none.json")).count("not measured") == 4


def test_readers_that_got_other_facts_are_told_apart_however_the_bytes_came() -> None:
    fact, other = b'id: 1\ndata: {"a":1}\n\n', b'id: 1\ndata: {"a":2}\n\n'
    delta = b'id: 1.1\ndata: {"data":{"delta":"%d|"}}\n\n' % STAMP
    whole = heard([(STAMP, b"HTTP/1.1 200 OK\r\n\r\n"), (STAMP + 5_000_000, fact + delta)])
    cut = heard([(STAMP, fact[:9]), (STAMP, fact[9:] + delta[:12]), (STAMP + 5_000_000, delta[12:])])
    assert (whole.facts, whole.deltas, whole.lags_ms) == (cut.facts, cut.deltas, cut.lags_ms)
    assert whole.frames == 2 and whole.lags_ms == [5.0]
    assert heard([(STAMP, other + delta)]).facts != whole.facts


def test_every_stamp_of_a_frame_counts() -> None:
    told = b'{"type":"content:delta","data":{"step":1,"delta":"%d|%d|"}}' % (STAMP, STAMP + 1_000_000)
    assert lags_in(told, STAMP + 3_000_000) == [3.0, 2.0]


def test_a_part_takes_what_it_did_and_never_less_than_nothing() -> None:
    meter = Meter({"us": os.getpid()})
    before = meter.cpu_seconds()
    sum(number * number for number in range(2_000_000))
    assert spent(before, meter.cpu_seconds())["us"] > 0
    assert meter.memory_bytes()["us"] > 1 << 20
    assert spent({"a": 2.0}, {"a": 1.0}) == {"a": 0.0}


def test_more_readers_than_the_system_allows_are_refused_with_what_to_do() -> None:
    with pytest.raises(descriptors.TooFew, match="ulimit -Hn"):
        descriptors.allow(1 << 40)
