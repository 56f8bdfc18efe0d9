"""``hil doctor`` over SSH on boards with various faults; not tested on real boards."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

import pytest

from hil.board import helper, install
from hil.cli import main
from hil.targets.target import open_target
from tests.boards.faults import until
from tests.boards.generations import GENERATIONS, facts_of
from tests.boards.test_setup import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.boards.board import SimulatedBoard
    from tests.boards.processes import Process

MODEL = '[models.toy]\npath = "toy.onnx"\ndata = "toy.npz"\n'
ALL = pytest.mark.parametrize("board", GENERATIONS, indirect=True)
PLACES = ("/home", "/tmp", "/var/tmp", "/dev/shm", "/run")  # noqa: S108 - the board's, read only


@pytest.fixture
def doctor(
    board: SimulatedBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Return a function that runs ``hil doctor rover --json`` with keys of the target: (exit code, document)."""
    for name in ("toy.onnx", "toy.npz"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)

    def run(command: str = "doctor", **keys: Any) -> tuple[int, dict[str, Any]]:
        (tmp_path / "hil.toml").write_text(MODEL + board.toml("rover", **keys), encoding="utf-8")
        capsys.readouterr()
        code = main([command, "rover", "--json"])
        out = capsys.readouterr().out
        return code, json.loads(out) if out else {}

    return run


def states(document: dict[str, Any]) -> dict[str, str]:
    """Return the state of each line by its subject."""
    return {one["what"]: one["state"] for one in document["findings"]}


def line(document: dict[str, Any], what: str) -> dict[str, Any]:
    """Return the line about ``what``."""
    [one] = [one for one in document["findings"] if one["what"] == what]
    return dict(one)


def files(board: SimulatedBoard) -> set[str]:
    """Return all files and folders in places where the user can write."""
    names = board.shell("find", *PLACES, "-xdev", check=False).stdout
    return set(names.splitlines())


@ALL
def test_a_healthy_board_is_ready_and_unchanged(board: SimulatedBoard, doctor: Any) -> None:
    """A healthy board has exit code 0 within 5 s, and neither a new file nor a new process."""
    before = files(board)
    code, document = doctor()
    assert (code, document["ready"], document["held"]) == (0, True, None), document
    assert document["seconds"] < 5
    assert "bad" not in states(document).values()
    assert {"board", "jetpack", "serial", "power mode", "clocks", "temperature", "tegrastats"} <= set(states(document))
    assert files(board) == before
    until(lambda: not started(board), 5, "an end of the doctor's processes")


def started(board: SimulatedBoard) -> list[Process]:
    """Return the processes of the user, without those of the SSH server."""
    return [one for one in board.processes() if one.user == board.user and not one.command.startswith("sshd: ")]


@pytest.mark.parametrize("board", ["jp46", "jp62"], indirect=True)
def test_missing_tensorrt(doctor: Any) -> None:
    """Each missing part of TensorRT is ``bad``, and TensorRT's own line has the command that installs it."""
    code, document = doctor(runtime="tensorrt")
    assert code == 1
    for what in ("TensorRT", "libnvinfer", "driver"):
        assert line(document, what)["state"] == "bad"
    assert line(document, "TensorRT")["mend"].startswith("sudo apt-get install nvidia-jetpack")


def test_numpy_missing(board: SimulatedBoard, doctor: Any) -> None:
    """If numpy is missing, its finding is ``bad`` and shows the command that installs it."""
    [site] = board.file("/home/hil/.local/lib").glob("python3*/site-packages")
    board.shell("rm", "-rf", f"/home/hil/.local/lib/{site.parent.name}/site-packages/numpy")
    code, document = doctor()
    assert (code, line(document, "numpy")["state"]) == (1, "bad")
    assert "numpy" in line(document, "numpy")["mend"]


def test_python_missing(doctor: Any) -> None:
    """If the interpreter does not exist, its finding is ``bad`` and the only one."""
    code, document = doctor(python="/opt/none/python3")
    assert (code, states(document)) == (1, {"python": "bad"})
    assert "does not exist" in line(document, "python")["found"]


def test_a_store_of_root(board: SimulatedBoard, doctor: Any) -> None:
    """If the user cannot write the store, its finding is ``bad`` and shows the command that changes its owner."""
    board.shell("mkdir", "-m", "755", "/srv/store")
    code, document = doctor(store="/srv/store")
    assert (code, line(document, "store")["state"]) == (1, "bad")
    assert "sudo chown hil /srv/store" in line(document, "store")["mend"]


def test_a_full_disk(board: SimulatedBoard, doctor: Any) -> None:
    """A full disk is reported as bad, and the doctor still runs."""
    board.small_disk("/home/hil/small", 1 << 20)
    code, document = doctor(store="/home/hil/small/store")
    assert (code, line(document, "store")["state"]) == (1, "bad")


def test_device_nodes_of_another_group(board: SimulatedBoard, doctor: Any) -> None:
    """The warning about groups has the command that adds the user to the group of the device nodes."""
    board.shell("groupadd", "-f", "video")
    for node in facts_of(board.generation)["nodes"]:
        board.shell("chown", "root:video", f"/dev/{node}")
        board.shell("chmod", "660", f"/dev/{node}")
    board.shell("gpasswd", "-d", board.user, "video", check=False)
    code, document = doctor()
    assert (code, line(document, "groups")["state"]) == (0, "warn")  # ONNX Runtime needs no GPU
    command = line(document, "groups")["mend"].partition("  #")[0]
    assert command == "sudo usermod -aG video hil"
    board.shell(*shlex.split(command)[1:])
    assert line(doctor()[1], "groups")["state"] == "ok"


def test_state_of_the_board(board: SimulatedBoard, doctor: Any) -> None:
    """Throttling is ``bad``; used swap, over-current and a temperature over ``start_below`` are warnings."""
    board.throttle(on=True)
    board.swap(512 << 10)
    board.temperature(71.0)
    board.over_current(1, 3)
    document = doctor(start_below="60 °C")[1]
    now = states(document)
    assert now["throttling"] == "bad"
    assert {now["swap"], now["temperature"], now["over-current"]} == {"warn"}
    assert "71.0 °C" in line(document, "temperature")["found"]


def test_a_power_mode_other_than_declared(board: SimulatedBoard, doctor: Any) -> None:
    """The finding on another power mode has the command that sets the declared mode."""
    code, document = doctor(power_mode="10W")
    command = line(document, "power mode")["mend"].partition("  #")[0]
    assert (code, command) == (1, "sudo nvpmodel -m 1")
    board.power_mode("10W")
    assert line(doctor(power_mode="10W")[1], "power mode")["state"] == "ok"


def test_a_board_and_serial_other_than_declared(doctor: Any) -> None:
    """A board or serial number other than the declared one is ``bad``; the fix for the board is the line to write."""
    code, document = doctor(board="agx-orin-64gb", serial="1")
    assert (code, line(document, "board")["mend"].partition("  #")[0]) == (1, 'board = "orin-nx-16gb"')
    assert line(document, "serial")["state"] == "bad"


def test_a_clock_ten_years_off(board: SimulatedBoard, doctor: Any) -> None:
    """A board's clock that is wrong is a warning that states by how much."""
    board.clock("-10y")
    code, document = doctor()
    assert (code, line(document, "clock")["state"]) == (0, "warn")
    assert "10 years behind" in line(document, "clock")["found"]


def test_tegrastats_that_hangs(board: SimulatedBoard, doctor: Any) -> None:
    """A tegrastats that prints nothing is a warning, and its process is ended."""
    board.file("/usr/bin/tegrastats").write_text("#!/bin/sh\nexec sleep 1000\n", encoding="ascii")
    code, document = doctor()
    assert (code, line(document, "tegrastats")["state"]) == (0, "warn")
    assert "sleep" not in " ".join(one.command for one in board.processes())


def test_doctor_during_a_session(board: SimulatedBoard, doctor: Any) -> None:
    """While a session holds the board, doctor and probe name the holder and leave its agent usable."""
    with open_target("rover", board.spec()) as target, target.start_agent() as agent:
        agent.hold("theirs", "alice")
        code, document = doctor()
        assert (code, document["held"]["who"]) == (0, "alice")
        assert states(document)["tegrastats"] == "unknown"
        agent.hold("theirs", "alice")
        code, document = doctor("probe")
        assert (code, document["held"]["who"], document["identity"]["module"]) == (0, "alice", "orin-nx-16gb")
        assert agent.probe()["numpy"]
    assert doctor()[1]["held"] is None


def test_the_root_helper(board: SimulatedBoard, doctor: Any) -> None:
    """A required helper that is missing is bad; an installed one is reported with its version and reads GPU clients."""
    keys = {"clocks": "locked"}
    assert line(doctor(**keys)[1], "root helper")["state"] == "bad"
    board.allow_sudo(PASSWORD)
    with open_target("rover", board.spec()) as target:
        install.install(target, install.plan(target, ()), lambda _: PASSWORD)
    board.gpu_clients(("perception", 812, 4096))
    document = doctor(**keys)[1]
    assert line(document, "root helper")["found"].startswith(f"version {helper.VERSION}, services: none")
    assert line(document, "clocks")["state"] == "ok"
    assert "perception (process 812)" in line(document, "GPU clients")["found"]
    assert line(doctor(**keys, gpu_clients=["perception"])[1], "GPU clients")["state"] == "ok"


def test_an_unreachable_board_is_one_message(
    board: SimulatedBoard, doctor: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """If the board is unreachable, the exit code is 11, with one line on stderr and nothing on stdout."""
    board.sshd(on=False)
    assert doctor() == (11, {})
    assert main(["doctor", "rover"]) == 11
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert "on target 'rover'" in err
