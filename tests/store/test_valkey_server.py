"""The Valkey of the tests is a real one that can be killed, stopped and started again in its place."""

from __future__ import annotations

from pathlib import Path

from tests.support.valkey import running_valkey


def test_it_answers_until_it_is_killed_and_again_on_the_same_port(tmp_path: Path) -> None:
    with running_valkey(tmp_path / "valkey") as valkey:
        address, first = valkey.url, valkey.pid
        assert valkey.answers()
        valkey.kill()
        assert not valkey.answers()
        valkey.start()
        assert valkey.answers() and valkey.url == address and valkey.pid != first
        valkey.pause()
        assert not valkey.answers()
        valkey.resume()
        assert valkey.answers()
    assert not valkey.answers()
