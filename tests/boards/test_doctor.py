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
PLACES = ("/home", "/tmp", "/var/tmp", "/dev/shm", "/run")  # noqa: S108 - the board's, only looked at


@pytest.fixture
def doctor(
    board: SimulatedBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Runs ``hil doctor rover --json`` with the given keys of the target; its exit code and what it printed."""
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


def states(found: dict[str, Any]) -> dict[str, str]:
    """Return the state of each line by its subject."""
    return {one["what"]: one["state"] for one in found["findings"]}


def line(found: dict[str, Any], what: str) -> dict[str, Any]:
    """Return the line about ``what``."""
    [one] = [one for one in found["findings"] if one["what"] == what]
    return dict(one)


def files(board: SimulatedBoard) -> set[str]:
    """Every file and folder where the user, or anybody, may leave one."""
    found = board.shell("find", *PLACES, "-xdev", check=False).stdout
    return set(found.splitlines())


@ALL
def test_a_healthy_board_is_ready_quickly_and_left_as_it_was(board: SimulatedBoard, doctor: Any) -> None:
    """Exit code 0 within 5 s; no file and no process more than before."""
    before = files(board)
    code, found = doctor()
    assert (code, found["ready"], found["held"]) == (0, True, None), found
    assert found["seconds"] < 5
    assert "bad" not in states(found).values()
    assert {"board", "jetpack", "serial", "power mode", "clocks", "temperature", "tegrastats"} <= set(states(found))
    assert files(board) == before
    until(lambda: not ours(board), 5, "an end of all that the doctor started")


def ours(board: SimulatedBoard) -> list[Process]:
    """What the user runs there, but for the server's part of the session."""
    return [one for one in board.processes() if one.user == board.user and not one.command.startswith("sshd: ")]


@ALL
def test_under_tensorrt_it_says_what_to_install(doctor: Any) -> None:
    """No simulated board has it: each missing part is bad, with a command."""
    code, found = doctor(runtime="tensorrt")
    assert code == 1
    for what in ("TensorRT", "libnvinfer", "driver"):
        assert line(found, what)["state"] == "bad"
    assert line(found, "TensorRT")["mend"].startswith("sudo apt-get install nvidia-jetpack")


def test_numpy_missing(board: SimulatedBoard, doctor: Any) -> None:
    """Taken away as a user would: bad, with apt's line for the system's interpreter."""
    [site] = board.file("/home/hil/.local/lib").glob("python3*/site-packages")
    board.shell("rm", "-rf", f"/home/hil/.local/lib/{site.parent.name}/site-packages/numpy")
    code, found = doctor()
    assert (code, line(found, "numpy")["state"]) == (1, "bad")
    assert "numpy" in line(found, "numpy")["mend"]


def test_python_missing(doctor: Any) -> None:
    """The board was reached; there is nobody to ask further."""
    code, found = doctor(python="/opt/none/python3")
    assert (code, states(found)) == (1, {"python": "bad"})
    assert "does not exist" in line(found, "python")["found"]


def test_a_store_that_is_roots(board: SimulatedBoard, doctor: Any) -> None:
    """Told before any session fails there."""
    board.shell("mkdir", "-m", "755", "/srv/store")
    code, found = doctor(store="/srv/store")
    assert (code, line(found, "store")["state"]) == (1, "bad")
    assert "sudo chown hil /srv/store" in line(found, "store")["mend"]


def test_a_full_disk(board: SimulatedBoard, doctor: Any) -> None:
    """A disk without room is no reason not to answer."""
    board.small_disk("/home/hil/small", 1 << 20)
    code, found = doctor(store="/home/hil/small/store")
    assert (code, line(found, "store")["state"]) == (1, "bad")


def test_device_nodes_of_another_group(board: SimulatedBoard, doctor: Any) -> None:
    """The command joins the very group, and afterwards nothing is wrong."""
    board.shell("groupadd", "-f", "video")
    for node in facts_of(board.generation)["nodes"]:
        board.shell("chown", "root:video", f"/dev/{node}")
        board.shell("chmod", "660", f"/dev/{node}")
    board.shell("gpasswd", "-d", board.user, "video", check=False)
    code, found = doctor()
    assert (code, line(found, "groups")["state"]) == (0, "warn")  # ONNX Runtime needs no GPU
    command = line(found, "groups")["mend"].partition("  #")[0]
    assert command == "sudo usermod -aG video hil"
    board.shell(*shlex.split(command)[1:])
    assert line(doctor()[1], "groups")["state"] == "ok"


def test_the_state_it_is_in(board: SimulatedBoard, doctor: Any) -> None:
    """Throttling, swap, heat, the supply: as the kernel tells them."""
    board.throttle(on=True)
    board.swap(512 << 10)
    board.temperature(71.0)
    board.over_current(1, 3)
    found = doctor(start_below="60 °C")[1]
    now = states(found)
    assert now["throttling"] == "bad"
    assert {now["swap"], now["temperature"], now["over-current"]} == {"warn"}
    assert "71.0 °C" in line(found, "temperature")["found"]


def test_another_power_mode_than_declared(board: SimulatedBoard, doctor: Any) -> None:
    """The command that sets it, and then it is set."""
    code, found = doctor(power_mode="10W")
    command = line(found, "power mode")["mend"].partition("  #")[0]
    assert (code, command) == (1, "sudo nvpmodel -m 1")
    board.power_mode("10W")
    assert line(doctor(power_mode="10W")[1], "power mode")["state"] == "ok"


def test_another_board_and_serial_than_declared(doctor: Any) -> None:
    """With what to write instead."""
    code, found = doctor(board="agx-orin-64gb", serial="1")
    assert (code, line(found, "board")["mend"].partition("  #")[0]) == (1, 'board = "orin-nx-16gb"')
    assert line(found, "serial")["state"] == "bad"


def test_a_clock_ten_years_off(board: SimulatedBoard, doctor: Any) -> None:
    """Told with its size; everything else goes on."""
    board.clock("-10y")
    code, found = doctor()
    assert (code, line(found, "clock")["state"]) == (0, "warn")
    assert "10 years behind" in line(found, "clock")["found"]


def test_tegrastats_that_hangs(board: SimulatedBoard, doctor: Any) -> None:
    """Not waited for longer than it takes to be sure."""
    board.file("/usr/bin/tegrastats").write_text("#!/bin/sh\nexec sleep 1000\n", encoding="ascii")
    code, found = doctor()
    assert (code, line(found, "tegrastats")["state"]) == (0, "warn")
    assert "sleep" not in " ".join(one.command for one in board.processes())


def test_beside_a_session(board: SimulatedBoard, doctor: Any) -> None:
    """Who holds it, from where; the session's agent answers as before, and nothing was started beside it."""
    with open_target("rover", board.spec()) as target, target.start_agent() as agent:
        agent.hold("theirs", "alice")
        code, found = doctor()
        assert (code, found["held"]["who"]) == (0, "alice")
        assert states(found)["tegrastats"] == "unknown"
        agent.hold("theirs", "alice")
        code, told = doctor("probe")
        assert (code, told["held"]["who"], told["identity"]["module"]) == (0, "alice", "orin-nx-16gb")
        assert agent.probe()["numpy"]
    assert doctor()[1]["held"] is None


def test_the_root_helper(board: SimulatedBoard, doctor: Any) -> None:
    """Missing where it is needed, then there with its version; by it GPU clients are seen."""
    wanted = {"clocks": "locked"}
    assert line(doctor(**wanted)[1], "root helper")["state"] == "bad"
    board.allow_sudo(PASSWORD)
    with open_target("rover", board.spec()) as target:
        install.install(target, install.plan(target, ()), lambda _: PASSWORD)
    board.gpu_clients(("perception", 812, 4096))
    found = doctor(**wanted)[1]
    assert line(found, "root helper")["found"].startswith(f"version {helper.VERSION}, services: none")
    assert line(found, "clocks")["state"] == "ok"
    assert "perception (process 812)" in line(found, "GPU clients")["found"]
    assert line(doctor(**wanted, gpu_clients=["perception"])[1], "GPU clients")["state"] == "ok"


def test_unreachable_is_the_transports_one_message(
    board: SimulatedBoard, doctor: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 11, nothing on standard output."""
    board.sshd(on=False)
    assert doctor() == (11, {})
    assert main(["doctor", "rover"]) == 11
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert "on target 'rover'" in err
