"""docs/production.md and docker-compose.yml name what exists; tests/survival/test_proxy.py has the rest."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from settings import Settings, temporal_target

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "production.md").read_text()
COMPOSE = (ROOT / "docker-compose.yml").read_text()
NOT_SETTINGS = {"PERDURE_LISTEN"}
"""Variables of the compose file itself."""


def test_the_exports_for_temporal_cloud_are_what_the_sdk_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    exports = dict(re.findall(r"^export (\w+)=(\S+)$", PAGE, re.MULTILINE))
    for name, value in exports.items():
        monkeypatch.setenv(name, value)
    target = temporal_target()
    assert target is not None
    assert (target.address, target.namespace) == (exports["TEMPORAL_ADDRESS"], exports["TEMPORAL_NAMESPACE"])
    assert target.connect_config["api_key"] == exports["TEMPORAL_API_KEY"]
    assert target.connect_config["tls"]


@pytest.mark.parametrize("text", [PAGE, COMPOSE], ids=["production.md", "docker-compose.yml"])
def test_every_setting_that_is_named_exists(text: str) -> None:
    named = set(re.findall(r"PERDURE_[A-Z_]+", text)) - NOT_SETTINGS
    assert len(named) > 5
    assert named <= {str(field.validation_alias) for field in Settings.model_fields.values()}


def test_the_migrations_are_a_job_that_the_roles_wait_for() -> None:
    assert re.search(r"x-needs: &needs\n  migrations:\n    condition: service_completed_successfully", COMPOSE)
    assert COMPOSE.count("depends_on: *needs") == 2
