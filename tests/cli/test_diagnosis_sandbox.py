"""`perdure doctor` says what commands of tools would be confined by."""

from pathlib import Path

import pytest

from activities.tools.sandbox import Probe, probe
from cli import diagnosis
from session.policy import SandboxMode
from settings import Settings

WORKS = Probe(("bwrap",), version="bubblewrap 0.8.0")
MISSING = Probe(reason="bubblewrap is not installed")


@pytest.mark.parametrize(
    ("mode", "found", "state", "told"),
    [
        ("auto", WORKS, "ok", "commands run inside it, without network (auto)"),
        ("require", WORKS, "ok", "commands run inside it, without network (require)"),
        ("auto", MISSING, "off", "bubblewrap is not installed: commands run with resource limits alone"),
        ("off", WORKS, "off", "PERDURE_EXEC_SANDBOX is off: commands run with resource limits alone"),
        ("require", MISSING, "broken", "bubblewrap is not installed: no command will run; install bubblewrap"),
    ],
)
def test_the_sandbox_is_a_part_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: SandboxMode, found: Probe, state: str, told: str
) -> None:
    monkeypatch.setenv("PERDURE_EXEC_SANDBOX", mode)
    monkeypatch.setattr(diagnosis, "probe", lambda: found)
    finding = diagnosis._sandbox(Settings(data_dir=tmp_path))
    assert (finding.part, finding.state) == ("sandbox", state)
    assert finding.note.startswith(told)


def test_what_doctor_says_of_this_machine_is_what_a_worker_would_do(tmp_path: Path) -> None:
    assert (diagnosis._sandbox(Settings(data_dir=tmp_path)).state == "ok") is probe().works
