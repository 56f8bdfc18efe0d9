"""``hil doctor``, ``hil targets`` and ``hil probe`` on this very machine; on boards in ``tests/boards``."""

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
    """A folder with a config of three targets, and the current one."""
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


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    """Exit code and the one JSON document on standard output."""
    code = main([*arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_healthy_machine_is_ready(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0, quickly, and nothing is left: neither a store nor the agent."""
    code, found = told(capsys, "doctor", "bench")
    assert (code, found["schema"], found["ready"], found["held"]) == (0, 1, True, None)
    assert {one["state"] for one in found["findings"]} <= {"ok", "warn", "unknown"}
    assert all(set(one) == {"part", "what", "found", "state", "mend"} for one in found["findings"])
    assert found["seconds"] < 5
    assert not (project / "store").exists()
    assert not (project / "cache").exists()  # where ONNX Runtime would begin a data base of its own


def test_the_table_says_the_same(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For people: a sign for each line, and the verdict at the end."""
    assert main(["doctor", "bench"]) == 0
    out = capsys.readouterr().out
    assert f"✓  store         {project}" in out.replace("\n                 ", "")
    assert "bench is ready" in out.splitlines()[-1]


def test_a_store_that_cannot_be_written_is_bad(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where a file is in the way, nobody can make the folder."""
    (project / "store").write_text("", encoding="ascii")
    code, found = told(capsys, "doctor", "bench")
    [one] = [one for one in found["findings"] if one["what"] == "store"]
    assert (code, one["state"], one["found"]) == (1, "bad", f"{project / 'store'} cannot be written")


def test_who_holds_it_is_told_without_disturbing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A session goes on holding; runtimes are not imported beside it; exit code 0."""
    with open_target("bench", TargetSpec(store=str(project / "store"))).start_agent() as agent:
        agent.hold("theirs", "alice")
        code, found = told(capsys, "doctor", "bench")
        assert (code, found["held"]["who"]) == (0, "alice")
        assert {one["what"] for one in found["findings"] if "while it is held" in one["found"]} >= {"ONNX Runtime"}
        assert main(["targets", "--check"]) == 11  # of those that do not answer
        assert "alice from" in capsys.readouterr().out
        agent.hold("theirs", "alice")
        agent.probe()
    assert told(capsys, "doctor", "bench")[1]["held"] is None


def test_it_lets_go_of_what_it_held(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A session may begin right after it, in a store that was held before."""
    spec = TargetSpec(store=str(project / "store"))
    for token in ("first", "second"):
        with open_target("bench", spec).start_agent() as agent:
            agent.hold(token, "alice")
        assert told(capsys, "doctor", "bench")[0] == 0


def test_an_unreachable_target_is_the_labs_error(capsys: pytest.CaptureFixture[str]) -> None:
    """The transport's one message on standard error, nothing on standard output, exit code 11."""
    for command in ("doctor", "probe"):
        assert main([command, "closed", "--json"]) == 11
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("error: ")
        assert "on target 'closed'" in err
        assert len(err.splitlines()) == 1


def test_an_interpreter_that_is_none_is_bad(capsys: pytest.CaptureFixture[str]) -> None:
    """The machine was reached, so that it is no error of the lab's; the line names the way out."""
    code, found = told(capsys, "doctor", "odd")
    [one] = found["findings"]
    assert (code, one["what"], one["state"]) == (1, "python", "bad")
    assert "is not a working Python interpreter" in one["found"]
    assert "set python" in one["mend"]


@pytest.mark.parametrize("command", ["doctor", "probe"])
def test_an_unknown_target_is_the_users_mistake(capsys: pytest.CaptureFixture[str], command: str) -> None:
    """With the name that was meant."""
    assert main([command, "bensh"]) == 4
    assert "did you mean 'bench'?" in capsys.readouterr().err


def test_probe_prints_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    """Raw facts, what they make it, the state; a machine that is no Jetson has no identity."""
    code, found = told(capsys, "probe", "bench")
    assert (code, found["schema"], found["target"], found["identity"]) == (0, 1, "bench", None)
    assert found["facts"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["facts"]["runtimes"]["onnxruntime"]
    assert found["state"]["memory_available"] > 0
    assert abs(found["clock_ahead"]) < 5
    assert main(["probe", "bench"]) == 0
    assert "  runtimes.onnxruntime" in capsys.readouterr().out


def test_probe_with_a_broken_interpreter_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """There is nothing to print then."""
    assert main(["probe", "odd", "--json"]) == 11
    assert capsys.readouterr().out == ""


def test_targets_are_listed_without_being_reached(capsys: pytest.CaptureFixture[str]) -> None:
    """In the file's order, ``cpu`` too, which is there without being written."""
    begun = time.monotonic()
    code, found = told(capsys, "targets")
    assert time.monotonic() - begun < 2
    assert (code, [one["name"] for one in found["targets"]]) == (0, ["bench", "closed", "odd", "cpu"])
    assert "reachable" not in found["targets"][0]


def test_check_tells_which_answer(capsys: pytest.CaptureFixture[str]) -> None:
    """And why the others do not; exit code 11."""
    code, found = told(capsys, "targets", "--check")
    by_name = {one["name"]: one for one in found["targets"]}
    assert code == 11
    assert {name: one["reachable"] for name, one in by_name.items()} == {
        "bench": True,
        "closed": False,
        "odd": False,
        "cpu": True,
    }
    assert "on target 'closed'" in by_name["closed"]["why_not"]
    assert by_name["bench"]["held"] is None
