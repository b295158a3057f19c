"""`perdure migrate` brings a store up to date and says what it did."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from cli.main import app


def test_the_command_names_the_store_and_both_revisions(tmp_path: Path) -> None:
    run = [CliRunner().invoke(app, ["migrate", "--data-dir", str(tmp_path)]) for _ in range(2)]
    said = ["".join(one.output.split()) for one in run]
    assert [one.exit_code for one in run] == [0, 0], said
    assert "perdure.db:broughtfromnothingto0" in said[0]
    assert "perdure.db:wasuptodateat0" in said[1]
