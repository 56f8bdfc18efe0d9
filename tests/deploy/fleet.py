"""Deploys a judged project to a robot by the command line."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from hil.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    from tests.deploy.robot import Robot

HIL = (sys.executable, "-c", "import sys; from hil.cli import main; sys.exit(main())")


@dataclass
class CommandResult:
    """A command's exit code and output."""

    code: int
    out: str

    def json(self) -> dict[str, Any]:
        """Return the output, parsed as JSON."""
        document: dict[str, Any] = json.loads(self.out)
        return document


@dataclass
class Fleet:
    """``root`` has ``hil.toml`` and ``report/``; ``robot`` is the target ``rover``."""

    root: Path
    robot: Robot

    @classmethod
    def make(cls, root: Path, robot: Robot, **keys: Any) -> Fleet:
        """Add this robot to the judged project in ``root`` as a target."""
        fleet = cls(root, robot)
        fleet.mood("well")
        fleet.target(**keys)
        return fleet

    def target(self, **keys: Any) -> None:
        """Write the robot's tables; the default of ``silence`` is 5 s."""
        place = self.root / "hil.toml"
        text = place.read_text(encoding="utf-8").split("[targets.")[0].replace('"host"', '"emulated"')
        keys = {"silence": "5 s", **keys}
        place.write_text(text + self.robot.toml("rover", "robot.yaml", **keys), encoding="utf-8")

    def mood(self, mood: str, note: str = "") -> None:
        """Write the config that decides how the service behaves: ``well``, ``ill``, ``hangs`` or ``dies``.

        A different ``note`` gives a different release.
        """
        (self.root / "robot.yaml").write_text(f"mood: {mood}\nnote: {note}\n", encoding="utf-8")

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start ``hil WORDS`` in a new process."""
        env = {**os.environ, **self._env()}
        return subprocess.Popen(
            (*HIL, *words), cwd=self.root, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def hil(self, *words: str) -> CommandResult:
        """Run ``hil WORDS`` in this process, which has the imports; with ``--json``, standard error is left out."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            patch.chdir(self.root)
            for name, value in self._env().items():
                patch.setenv(name, value)
            code = main(words)
        return CommandResult(code, out.getvalue() if "--json" in words else out.getvalue() + err.getvalue())

    def _env(self) -> dict[str, str]:
        path = os.pathsep.join([str(self.root), os.environ["PYTHONPATH"]])
        return {"XDG_CACHE_HOME": str(self.root / "cache"), "PYTHONPATH": path}

    def deploy(self) -> CommandResult:
        """Run ``hil deploy report --to rover``."""
        return self.hil("deploy", "report", "--to", "rover")

    def releases(self) -> dict[str, Any]:
        """Return the output of ``hil releases rover --json``."""
        return self.hil("releases", "rover", "--json").json()
