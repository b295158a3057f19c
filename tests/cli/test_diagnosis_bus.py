"""`perdure doctor` says whether the bus answers, and shows nobody its password."""

from __future__ import annotations

from pathlib import Path

from cli.diagnosis import _bus
from settings import Settings
from tests.support.valkey import running_valkey


async def test_a_bus_is_looked_at_and_its_password_is_not_shown(tmp_path: Path) -> None:
    with running_valkey(tmp_path / "valkey", password="hush-hush-hush") as valkey:
        settings = Settings(data_dir=tmp_path / "data", bus_url=valkey.url)
        found = await _bus(settings)
        assert (found.state, found.address) == ("ok", f"redis://127.0.0.1:{valkey.port}/0")
        valkey.kill()
        found = await _bus(settings)
    assert found.state == "broken" and "hush" not in repr(found)
    assert (await _bus(Settings(data_dir=tmp_path / "data"))).address == "in-process"
