"""The name of a workspace root: one for all who have the folder, another one for every other folder."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from activities.workspaces import Workspaces


def test_all_who_have_the_folder_call_it_the_same_and_others_do_not(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as at_once:
        names = set(at_once.map(lambda _: Workspaces(tmp_path / "shared").home(), range(32)))
    assert len(names) == 1
    assert Workspaces(tmp_path / "shared").home() in names
    assert Workspaces(tmp_path / "other").home() not in names
    assert [path.name for path in (tmp_path / "shared" / ".perdure").iterdir()] == ["home"]


def test_a_root_that_was_emptied_keeps_its_name(tmp_path: Path) -> None:
    name = Workspaces(tmp_path / "root").home()
    shutil.rmtree(tmp_path / "root")
    assert Workspaces(tmp_path / "root").home() == name


def test_a_copy_takes_the_place_of_its_original(tmp_path: Path) -> None:
    name = Workspaces(tmp_path / "root").home()
    shutil.copytree(tmp_path / "root", tmp_path / "restored")
    assert Workspaces(tmp_path / "restored").home() == name


def test_a_file_that_holds_no_name_is_told(tmp_path: Path) -> None:
    (tmp_path / ".perdure").mkdir()
    (tmp_path / ".perdure" / "home").write_text("../elsewhere\n")
    with pytest.raises(ValueError, match="remove it"):
        Workspaces(tmp_path).home()
