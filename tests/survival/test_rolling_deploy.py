"""A new version comes while sessions run: the short runs of `python -m tests.survival.deploy`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.survival.rolling import Report, rolling_deploy, table


def _nothing_was_lost(report: Report) -> None:
    print(table(report))
    assert not report.verdict.broken, "\n".join(report.verdict.broken)
    assert report.verdict.ended == {"endTurn": report.started}
    assert report.failed == report.cancelled == report.non_determinism == report.said_non_determinism == 0
    assert report.verdict.recorded_bought_twice == report.verdict.lines_doubled == 0
    assert set(report.exits) == {0}


@pytest.mark.slow
async def test_a_changed_workflow_comes_as_a_version_and_no_session_notices(tmp_path: Path) -> None:
    report = await rolling_deploy(tmp_path, "versioned", every=2.5, around=2.0)
    _nothing_was_lost(report)
    assert report.versions["v1"] > 0 and report.weighed["v1"] == 0, "sessions of v1 stayed with it"
    assert report.weighed["v2"] == report.versions["v2"] > 0, "new ones did what only v2 does"
    assert "Version v1 is drained" in report.promoted


@pytest.mark.slow
async def test_a_compatible_change_comes_without_versions_and_no_session_notices(tmp_path: Path) -> None:
    report = await rolling_deploy(tmp_path, "compatible", every=2.5, around=1.0)
    _nothing_was_lost(report)
    assert report.versions == {"no version": report.started}
