"""``hil doctor``, ``hil targets`` and ``hil probe`` on this machine; on boards they are tested in ``tests/boards``."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from hil.cli import main
from hil.config.spec import TargetSpec
from hil.targets.target import open_target

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """
[models.toy]
path = "toy.onnx"
data = "toy.npz"

[targets.bench]
kind = "local"
store = "{store}"

[targets.closed]
kind = "ssh"
host = "127.0.0.1"
port = 1
user = "nobody"
known_hosts = "known_hosts"

[targets.odd]
kind = "local"
python = "{python}"
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a config of three targets, which is the working directory."""
    for name in ("toy.onnx", "toy.npz", "known_hosts"):
        (tmp_path / name).touch()
    odd = tmp_path / "not-python"
    odd.write_text("#!/bin/sh\necho no python >&2\nexit 3\n", encoding="ascii")
    odd.chmod(0o755)
    (tmp_path / "hil.toml").write_text(CONFIG.format(store=tmp_path / "store", python=odd), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    """Return the exit code of ``main`` and the JSON document that it printed."""
    code = main([*arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_healthy_machine_is_ready(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A healthy machine gives exit code 0, and neither a store nor the agent's files are left behind."""
    code, document = run_json(capsys, "doctor", "bench")
    assert (code, document["schema"], document["ready"], document["held"]) == (0, 1, True, None)
    assert {finding["state"] for finding in document["findings"]} <= {"ok", "warn", "unknown"}
    assert all(set(finding) == {"part", "what", "found", "state", "mend"} for finding in document["findings"])
    assert document["seconds"] < 5
    assert not (project / "store").exists()
    assert not (project / "cache").exists()  # ONNX Runtime would create a database there


def test_the_table_agrees_with_the_json(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table's lines begin with a sign, and its last line states whether the target is ready."""
    assert main(["doctor", "bench"]) == 0
    out = capsys.readouterr().out
    assert f"✓  store         {project}" in out.replace("\n                 ", "")
    assert "bench is ready" in out.splitlines()[-1]


def test_a_store_that_cannot_be_written_is_bad(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A store is bad if a file is in the place of its folder."""
    (project / "store").write_text("", encoding="ascii")
    code, document = run_json(capsys, "doctor", "bench")
    [finding] = [finding for finding in document["findings"] if finding["what"] == "store"]
    assert (code, finding["state"], finding["found"]) == (1, "bad", f"{project / 'store'} cannot be written")


def test_the_holder_is_reported_without_disturbing_the_session(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """While a target is held, doctor names the holder, imports no runtime and does not end the holder's session."""
    with open_target("bench", TargetSpec(store=str(project / "store"))).start_agent() as agent:
        agent.hold("theirs", "alice")
        code, document = run_json(capsys, "doctor", "bench")
        assert (code, document["held"]["who"]) == (0, "alice")
        assert {
            finding["what"] for finding in document["findings"] if "while the target is held" in finding["found"]
        } >= {"ONNX Runtime"}
        assert main(["targets", "--check"]) == 11  # because other targets do not answer
        assert "alice from" in capsys.readouterr().out
        agent.hold("theirs", "alice")
        agent.probe()
    assert run_json(capsys, "doctor", "bench")[1]["held"] is None
    with open_target("bench", TargetSpec(store=str(project / "store"))).start_agent() as agent:
        agent.hold("next", "bob")  # doctor released the target


def test_an_unreachable_target_is_the_labs_error(capsys: pytest.CaptureFixture[str]) -> None:
    """An unreachable target gives one line on stderr, nothing on stdout, and exit code 11."""
    for command in ("doctor", "probe"):
        assert main([command, "closed", "--json"]) == 11
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("error: ")
        assert "on target 'closed'" in err
        assert len(err.splitlines()) == 1


def test_a_file_that_is_not_an_interpreter_is_bad(capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is not an interpreter is a bad finding with a fix, not a lab error."""
    code, document = run_json(capsys, "doctor", "odd")
    [finding] = document["findings"]
    assert (code, finding["what"], finding["state"]) == (1, "python", "bad")
    assert "is not a working Python interpreter" in finding["found"]
    assert "set python" in finding["mend"]


@pytest.mark.parametrize("command", ["doctor", "probe"])
def test_an_unknown_target_is_the_users_mistake(capsys: pytest.CaptureFixture[str], command: str) -> None:
    """An unknown target is refused with the name of a similar one."""
    assert main([command, "bensh"]) == 4
    assert "did you mean 'bench'?" in capsys.readouterr().err


def test_probe_prints_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    """``hil probe --json`` prints facts, identity and state; a machine that is not a Jetson has no identity."""
    code, document = run_json(capsys, "probe", "bench")
    assert (code, document["schema"], document["target"], document["identity"]) == (0, 1, "bench", None)
    assert document["facts"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert document["facts"]["runtimes"]["onnxruntime"]
    assert document["state"]["memory_available"] > 0
    assert abs(document["clock_ahead"]) < 5
    assert main(["probe", "bench"]) == 0
    assert "  runtimes.onnxruntime" in capsys.readouterr().out


def test_probe_with_a_broken_interpreter_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """If the target's interpreter cannot run, probe prints nothing and exits with 11."""
    assert main(["probe", "odd", "--json"]) == 11
    assert capsys.readouterr().out == ""


def test_targets_are_listed_without_being_reached(capsys: pytest.CaptureFixture[str]) -> None:
    """Targets are listed in the file's order, with the implicit ``cpu`` last, and none is contacted."""
    begun = time.monotonic()
    code, document = run_json(capsys, "targets")
    assert time.monotonic() - begun < 2
    assert (code, [target["name"] for target in document["targets"]]) == (0, ["bench", "closed", "odd", "cpu"])
    assert "reachable" not in document["targets"][0]


def test_check_reports_which_targets_answer(capsys: pytest.CaptureFixture[str]) -> None:
    """``--check`` reports for each target whether it answers, and exits with 11 if one does not."""
    code, document = run_json(capsys, "targets", "--check")
    by_name = {target["name"]: target for target in document["targets"]}
    assert code == 11
    assert {name: target["reachable"] for name, target in by_name.items()} == {
        "bench": True,
        "closed": False,
        "odd": False,
        "cpu": True,
    }
    assert "on target 'closed'" in by_name["closed"]["why_not"]
    assert by_name["bench"]["held"] is None
