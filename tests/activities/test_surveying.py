"""Claims about what a model is told of its workspace: true, bounded, and nothing from outside."""

from __future__ import annotations

import os
from pathlib import Path

from activities.presets import Presets
from activities.surveying import INSTRUCTION_BYTES, SHOWN_NAMES, survey
from session.prompt import WorkspaceFacts


def test_a_workspace_that_is_not_there_yet_is_an_empty_one_and_is_not_made(tmp_path: Path) -> None:
    assert survey(tmp_path / "none") == WorkspaceFacts()
    assert not (tmp_path / "none").exists()


def test_the_top_the_branch_and_the_instructions_are_told(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "a\nb.txt").touch()
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text("ref: refs/heads/fix/it\n")
    (tmp_path / "CLAUDE.md").write_text("Use tabs.")
    facts = survey(tmp_path)
    assert list(facts.top) == ["CLAUDE.md", "a\ufffdb.txt", "src/"]
    assert facts.branch == "fix/it"
    assert facts.instructions is not None and facts.instructions.text == "Use tabs."
    (tmp_path / "AGENTS.md").write_text("ü" * INSTRUCTION_BYTES)
    facts = survey(tmp_path)
    assert facts.instructions is not None
    assert facts.instructions.path == "AGENTS.md" and facts.instructions.is_cut
    (tmp_path / ".git" / "HEAD").write_text("0123456789abcdef0123456789abcdef01234567\n")
    assert "0123456789ab" in survey(tmp_path).branch


def test_of_many_names_some_are_shown_and_the_rest_counted(tmp_path: Path) -> None:
    for number in range(SHOWN_NAMES + 7):
        (tmp_path / f"{number:03}").touch()
    facts = survey(tmp_path)
    assert len(facts.top) == SHOWN_NAMES and facts.more == 7


def test_links_that_lead_outside_pipes_and_secrets_are_not_read(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("secret of somebody else")
    folder = tmp_path / "ws"
    folder.mkdir()
    (folder / "AGENTS.md").symlink_to(outside)
    os.mkfifo(folder / "CLAUDE.md")
    (folder / ".git").write_text("gitdir: /etc\n")
    facts = survey(folder)
    assert facts.instructions is None and facts.branch == ""


def test_a_preset_is_the_operators_file_or_a_shipped_one_or_the_default(tmp_path: Path) -> None:
    presets = Presets(tmp_path)
    default = presets.text(None)
    assert default.strip() and presets.text("coding") != default
    for unknown in ("no-such", "../../etc/passwd", "", "a b"):
        assert presets.text(unknown) == default
    (tmp_path / "coding.md").write_text("Mine.")
    (tmp_path / "default.md").write_text("Ours.")
    assert presets.text("coding") == "Mine." and presets.text("no-such") == "Ours."
    assert Presets(tmp_path / "none").text("coding") != "Mine."
