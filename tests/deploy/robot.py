"""A robot on a simulated board: a service of its user that loads one release and records what it loaded."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.boards.faults import until

if TYPE_CHECKING:
    from tests.boards.board import SimulatedBoard

HOME = "/home/hil/robot"
FOLDER = f"{HOME}/perception"
SERVICE = '''\
"""Load the release that `current` names; exit if its config has the mood `dies`. Record every loaded file."""
import hashlib, json, os, sys, time

place = os.path.realpath("perception/current")
files = {}
for folder, _, names in os.walk(place):
    for name in names:
        path = os.path.join(folder, name)
        with open(path, "rb") as file:
            files[os.path.relpath(path, place)] = hashlib.sha256(file.read()).hexdigest()
with open(os.path.join(place, "config/robot.yaml")) as file:
    mood = file.read().split("mood:")[1].split()[0]
if mood == "dies":
    sys.exit(3)
with open("running.new", "w") as file:
    json.dump({"pid": os.getpid(), "release": os.path.basename(place), "files": files, "mood": mood}, file)
os.rename("running.new", "running.json")
time.sleep(100000)
'''
RESTART = """\
#!/bin/sh
cd /home/hil/robot || exit 1
[ -f pid ] && kill -9 "$(cat pid)" 2>/dev/null
rm -f running.json
setsid /usr/bin/python3 service.py </dev/null >/dev/null 2>&1 &
echo $! >pid
echo "the service was restarted"
echo restart >>log 2>/dev/null
exit 0
"""
HEALTH = """\
#!/bin/sh
cd /home/hil/robot || exit 1
[ -f running.json ] || { echo "it has not started"; exit 1; }
kill -0 "$(cat pid)" 2>/dev/null || { echo "it has ended"; exit 1; }
grep -q '"mood": "hangs"' running.json && sleep 1000
grep -q '"mood": "well"' running.json || { echo "it is not well"; exit 1; }
"""
SAFE = """\
#!/bin/sh
cd /home/hil/robot || exit 1
echo safe >>log 2>/dev/null
[ ! -e unsafe ] || { echo "the arm does not park"; exit 7; }
"""


class Robot:
    """A simulated board with the service."""

    def __init__(self, board: SimulatedBoard, disk: int | None = None) -> None:
        """Install the service. With ``disk``, the releases are on a disk of that many bytes."""
        self.board = board
        board.shell("mkdir", "-p", HOME)
        for name, text in (("service.py", SERVICE), ("restart", RESTART), ("health", HEALTH), ("safe", SAFE)):
            board.shell("sh", "-c", f"cat >{HOME}/{name}; chmod 755 {HOME}/{name}", stdin=text)
        board.shell("mkdir", "-p", FOLDER)
        if disk is not None:
            board.small_disk(FOLDER, disk)
        board.shell("chown", "-R", "hil:hil", HOME)

    def toml(self, name: str, *config: str, **keys: Any) -> str:
        """Return the target's tables: how to reach the board, and how to deploy to the service."""
        deploy: dict[str, Any] = {
            "directory": "~/robot/perception",
            "restart": [f"{HOME}/restart"],
            "health": [f"{HOME}/health"],
            "health_within": "5 s",
            "safe_state": [f"{HOME}/safe"],
            "config": list(config),
            "golden": 4,
        }
        target = {key: keys.pop(key) for key in ("silence", "host", "port") if key in keys}
        lines = [f"{key} = {json.dumps(value)}\n" for key, value in (deploy | keys).items()]
        return self.board.toml(name, **target) + f"[targets.{name}.deploy]\n" + "".join(lines)

    def running(self) -> dict[str, Any] | None:
        """Return what the running service has loaded; None if it does not run."""
        place = self.board.file(f"{HOME}/running.json")
        if not place.exists():
            return None
        loaded: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
        alive = any(process.pid == loaded["pid"] for process in self.board.processes())
        return loaded if alive else None

    def running_release(self) -> str | None:
        """Return the running release; None if no service runs. Assert that its files are those of its manifest."""
        loaded = self.running()
        if loaded is None:
            return None
        release, files = str(loaded["release"]), dict(loaded["files"])
        assert files.pop("manifest.json") == release, "the manifest is another release's"
        manifest = json.loads(self.board.file(f"{FOLDER}/releases/{release}/manifest.json").read_text(encoding="utf-8"))
        assert files == {file["path"]: file["sha256"] for file in manifest["files"]}, "a mixture of releases runs"
        return release

    def current(self) -> str | None:
        """Return the release that ``current`` names."""
        place = self.board.file(FOLDER) / "current"
        return place.readlink().name if place.is_symlink() else None

    def log(self) -> list[str]:
        """Return the hooks that ran, in order: ``safe``, ``restart``."""
        place = self.board.file(f"{HOME}/log")
        return place.read_text(encoding="utf-8").split() if place.exists() else []

    def wait_for_activation(self, within: float = 30) -> None:
        """Wait until no deployment is running on the robot."""
        until(lambda: not [one for one in self.board.processes() if "--activate" in one.command], within, "an end")
