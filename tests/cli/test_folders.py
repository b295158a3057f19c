"""A folder that cannot be had is told in one sentence that names the setting, before anything is started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli import roles
from cli.connecting import StartError
from settings import Settings, SettingsError
from worker import surroundings


@pytest.mark.parametrize("role", ["serve", "worker"])
def test_a_workspace_root_that_is_a_file_ends_the_command_with_one_sentence(tmp_path: Path, role: str) -> None:
    file = tmp_path / "notes.txt"
    file.touch()
    ran = subprocess.run(
        [sys.executable, "-m", "cli.main", role, "--data-dir", str(tmp_path / "data")],
        env={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(tmp_path), "PERDURE_WORKSPACE": str(file)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    said = " ".join((ran.stdout + ran.stderr).split())
    assert ran.returncode == 2 and said.startswith("perdure: PERDURE_WORKSPACE cannot be used: "), said
    assert "Traceback" not in said and not (tmp_path / "data" / "temporal.log").exists()


@pytest.mark.parametrize("setting", ["data_dir", "workspace_root"])
async def test_a_folder_that_cannot_be_made_is_told_with_its_setting(tmp_path: Path, setting: str) -> None:
    (tmp_path / "notes.txt").touch()
    folders = {"data_dir": tmp_path / "data", "workspace_root": tmp_path / "work"}
    settings = Settings(**folders | {setting: tmp_path / "notes.txt" / "within"})
    name = {"data_dir": "PERDURE_DATA_DIR", "workspace_root": "PERDURE_WORKSPACE"}[setting]
    with pytest.raises(StartError, match=rf"^{name} cannot be used: .*Not a directory"):
        async with roles.opened_store(settings):
            pytest.fail("it was opened")


@pytest.mark.parametrize("spoiled", ["a file in the place of our folder", "a name that is none"])
def test_a_workspace_root_that_cannot_be_named_is_told_with_its_setting(tmp_path: Path, spoiled: str) -> None:
    ours = tmp_path / "work" / ".perdure"
    ours.parent.mkdir()
    if spoiled.startswith("a file"):
        ours.touch()
    else:
        ours.mkdir()
        (ours / "home").write_text("../elsewhere\n")
    with pytest.raises(SettingsError, match=rf"^PERDURE_WORKSPACE cannot be used: .*{ours}"):
        surroundings(Settings(data_dir=tmp_path / "data", workspace_root=tmp_path / "work"))
