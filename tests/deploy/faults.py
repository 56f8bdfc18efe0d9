"""Injects a fault at a random time of a deployment, and checks the outcome."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any

import onnxruntime  # noqa: F401 - imported here once instead of in each fork

import hil.targets.ssh.target  # noqa: F401 - as onnxruntime
from hil.config.load import load
from hil.deploy.deploying import deploy
from hil.deploy.list_releases import list_releases
from hil.errors import HilError
from tests.boards.faults import until
from tests.deploy.robot import FOLDER, HOME

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.deploy.fleet import Fleet

DOWN = 7.0  # seconds without a link; each side gives up earlier
PATIENCE = 90.0
CRASHED = 99
GOOD = ("deployed", "unchanged")


class Child:
    """Runs ``work`` in a fork of this process, which has all imports loaded and no threads."""

    def __init__(self, work: Callable[[], Any], folder: Path) -> None:
        self.out = folder / f"child-{time.monotonic_ns()}"
        self.code: int | None = None
        self.pid = os.fork()
        if not self.pid:
            code = CRASHED
            with contextlib.suppress(BaseException):
                code = self._inside(work)
            os._exit(code)

    def _inside(self, work: Callable[[], Any]) -> int:
        os.setsid()
        try:
            outcome = work()
            self.out.write_text(json.dumps(outcome), encoding="utf-8")
            return int(outcome[0] not in GOOD) if isinstance(outcome, list) else 0
        except HilError as error:
            self.out.write_text(json.dumps(str(error)), encoding="utf-8")
            return int(error.exit_code)

    def ended(self) -> bool:
        """Return whether the process has ended; then ``code`` is its exit code, negative for a signal."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is not None

    def kill(self) -> None:
        """Kill the process with SIGKILL."""
        if not self.ended():
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> Any:
        """Wait for the process; return the result of ``work``."""
        until(self.ended, PATIENCE, "the end of a command")
        text = self.out.read_text(encoding="utf-8") if self.out.exists() else ""
        self.out.unlink(missing_ok=True)
        return json.loads(text) if text else None


def deployment(fleet: Fleet) -> Child:
    """Start a deployment as ``hil deploy report --to rover`` does; the result is its outcome and text."""

    def work() -> list[str]:
        outcome = deploy(load(fleet.root / "hil.toml"), fleet.root / "report", "rover", lambda *_: None)
        return [outcome.how, outcome.text]

    return Child(work, fleet.root)


def releases(fleet: Fleet) -> dict[str, Any]:
    """Return what ``hil releases rover`` lists; the command also recovers an interrupted deployment."""

    def work() -> dict[str, Any]:
        listing = list_releases(load(fleet.root / "hil.toml"), "rover", lambda *_: None)
        healthy = [release["release"] for release in listing.releases if release["healthy"]]
        return {"current": listing.current, "damage": listing.damage, "healthy": healthy, "busy": listing.busy}

    child = Child(work, fleet.root)
    listing = child.wait()
    assert child.code == 0, listing
    assert isinstance(listing, dict)
    return listing


def host_killed(_: Fleet, child: Child) -> None:
    """Kill the process that deploys."""
    child.kill()


def _kill(fleet: Fleet, *, activation_too: bool) -> None:
    for process in fleet.robot.board.processes():
        service = "service.py" in process.command
        if process.user == "hil" and not service and (activation_too or "--activate" not in process.command):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.outer, signal.SIGKILL)


def agent_killed(fleet: Fleet, _: Child) -> None:
    """Kill the agent, but not the activation."""
    _kill(fleet, activation_too=False)


def board_killed(fleet: Fleet, _: Child) -> None:
    """Kill all processes of the user except the service: the agent, the activation, hooks."""
    _kill(fleet, activation_too=True)


def power_cut(fleet: Fleet, _: Child) -> None:
    """Kill all processes of the board; boot it and start the service, like an init system."""
    board = fleet.robot.board
    board.reboot()
    if fleet.robot.current():
        board.shell(f"{HOME}/restart", user="hil")


def link_down(fleet: Fleet, child: Child) -> None:
    """Disconnect the cable until both sides have given up."""
    fleet.robot.board.link(up=False)
    time.sleep(DOWN)
    until(child.ended, PATIENCE, "the end of a deployment without a link")
    fleet.robot.board.link(up=True)
    until(lambda: _answers(fleet), PATIENCE, "a robot that answers again")


def _answers(fleet: Fleet) -> bool:
    """Return whether the robot is reachable; it takes a moment after the cable is connected."""
    try:
        socket.create_connection((fleet.robot.board.host, 22), timeout=1).close()
    except OSError:
        return False
    return True


def disk_full(fleet: Fleet, _: Child) -> None:
    """Fill the disk of the releases."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        fleet.robot.board.shell("sh", "-c", f"cat /dev/zero >{FOLDER}/fill 2>/dev/null; :", user="hil", timeout=20)


def nothing(_: Fleet, __: Child) -> None:
    """Inject no fault: the release itself fails."""


FAULTS: dict[str, tuple[Callable[[Fleet, Child], None], str]] = {
    "host killed": (host_killed, "well"),
    "agent killed": (agent_killed, "well"),
    "board's processes killed": (board_killed, "well"),
    "power cut": (power_cut, "well"),
    "link down": (link_down, "well"),
    "disk full": (disk_full, "well"),
    "service does not start": (nothing, "dies"),
    "service does not start, host killed": (host_killed, "dies"),
    "health check hangs": (nothing, "hangs"),
    "health check hangs, board's processes killed": (board_killed, "hangs"),
}
"""By name: the function that injects the fault, and the mood of the release that is deployed."""


def run(fleet: Fleet, fault: str, seed: int, length: float) -> dict[str, Any]:
    """Deploy once, with ``fault`` at a moment within ``length`` seconds that ``seed`` draws; return a row of results.

    ``held`` is true if the robot runs exactly the old or the new release, and lists that release as the current one;
    else ``why`` has the reason.
    """
    inject, mood = FAULTS[fault]
    robot, moment = fleet.robot, random.Random(seed).uniform(0.0, length)  # noqa: S311 - has to be drawn again
    old = robot.running_release()
    fleet.mood(mood, f"seed {seed}")
    child = deployment(fleet)
    time.sleep(moment)
    early = child.ended()
    inject(fleet, child)
    row = {"fault": fault, "seed": seed, "moment": round(moment, 3), "ended_before": early}
    try:
        outcome = child.wait()
        robot.wait_for_activation(PATIENCE)
        until(lambda: not _agents(fleet), PATIENCE, "an end of the agent on the robot")
        mixed = _mixed(fleet)
        robot.board.shell("rm", "-f", f"{FOLDER}/fill")
        listing = releases(fleet)
        row |= {"exit": child.code, "told": str(outcome)[:300], **_held(fleet, old, listing, mood, child.code)}
        row["held"] = row["held"] and not mixed
        row["why"] = row["why"] or mixed
    except AssertionError as error:
        row |= {"held": False, "why": str(error)[:300], "runs": "", "exit": child.code}
    finally:
        child.kill()
        robot.board.link(up=True)
    return row


def _agents(fleet: Fleet) -> list[Any]:
    processes = fleet.robot.board.processes()
    return [process for process in processes if "--store" in process.command and process.user == "hil"]


def _mixed(fleet: Fleet) -> str:
    """Return the error if the service runs files of several releases before recovery; else empty."""
    try:
        fleet.robot.running_release()
    except AssertionError as error:
        return str(error)
    return ""


def _held(fleet: Fleet, old: str | None, listing: dict[str, Any], mood: str, code: int | None) -> dict[str, Any]:
    """Return which release runs, whether that is right, and the reason if not."""
    runs = fleet.robot.running_release()
    which = "old" if runs == old else "new"
    wrong = ""
    if runs is None:
        wrong = "nothing runs"
    elif runs != listing["current"] or runs != fleet.robot.current():
        wrong = f"{runs[:12]} runs, but {listing['current']} is listed as current"
    elif listing["damage"] or runs not in listing["healthy"] or listing["busy"]:
        wrong = f"the running release is not listed as undamaged and healthy: {listing}"
    elif which == "new" and mood != "well":
        wrong = "an unhealthy release runs"
    elif code == 0 and which == "old":
        wrong = "a deployment exited with 0 and did not deploy"
    return {"runs": which, "held": not wrong, "why": wrong}
