"""The power mode by name: asked of ``nvpmodel``; where that is not installed, from the file in which it keeps it.

``nvpmodel -q`` prints ``NV Power Mode: MAXN`` and the mode's number below, a warning about the fan before it.
"""

import os
import re
import shutil
import signal
import subprocess
from typing import Dict, List, Optional, Tuple

from . import nvpmodel

DEADLINE = 5.0
PLACES = ("usr/sbin", "usr/bin", "sbin", "bin")
STATUS = "var/lib/nvpmodel/status"
SAID = re.compile(r"^NV Power Mode:\s*(\S+)\s*$", re.MULTILINE)
KEPT = re.compile(r"\bpmode:0*(\d+)\b")
MOST = 1 << 20


class Late(OSError):
    """It did not answer in time."""


def asked(command: List[str], deadline: float = DEADLINE) -> str:
    """What a command prints. Raises ``OSError`` where it cannot be run, fails, or is not done in time.

    It gets a process group of its own, which is killed with it: what hangs may have children.
    """
    process = subprocess.Popen(  # noqa: S603 - the board's own program with fixed words, no shell
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        out = process.communicate(timeout=deadline)[0]
    except subprocess.TimeoutExpired:
        raise Late(0, "it did not answer within %g s" % deadline) from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
    if process.returncode:
        raise OSError(0, "it ended with exit code %d" % process.returncode)
    return out[:MOST].decode("utf-8", "replace")


def _text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(MOST).decode("utf-8", "replace")
    except OSError:
        return ""


class PowerMode:
    """Reads the mode; a program that hung once is not asked again, since each time would cost its deadline."""

    def __init__(self, root: str = "/", program: Optional[str] = None, deadline: float = DEADLINE) -> None:
        self.root = root
        self.deadline = deadline
        self._program = program
        self._hung = ""

    def program(self) -> Optional[str]:
        """Where nvpmodel is; a login that is not root's may not have it on its path."""
        if self._program is not None:
            return self._program if os.access(self._program, os.X_OK) else None
        places = [os.path.join(self.root, place) for place in PLACES]
        return shutil.which("nvpmodel", path=os.pathsep.join(places))

    def _missing(self) -> bool:
        places = [os.path.join(self.root, place, "nvpmodel") for place in PLACES]
        return not any(os.path.lexists(path) for path in ([self._program] if self._program is not None else places))

    def read(self, why: Dict[str, str]) -> Optional[str]:
        """The mode's name, or None and the reason in ``why``."""
        if self._missing():
            name, reason = self._kept(), "there is no nvpmodel"
        else:
            # What it kept may be a mode that it failed to set: where it can be asked, nothing else is believed.
            name, reason = self._asked()
        if name is None:
            why["power_mode"] = reason
        return name

    def _asked(self) -> Tuple[Optional[str], str]:
        program = self.program()
        if program is None:
            return None, "nvpmodel may not be run"
        if self._hung:
            return None, self._hung
        try:
            found = SAID.search(asked([program, "-q"], self.deadline))
        except OSError as error:
            reason = "nvpmodel -q: %s" % (error.strerror or error)
            if isinstance(error, Late):
                self._hung = reason
            return None, reason
        return (None, "nvpmodel -q names no mode") if found is None else (found.group(1), "")

    def _kept(self) -> Optional[str]:
        """By the number in the status file and the names in the configuration."""
        number = KEPT.search(_text(os.path.join(self.root, STATUS)))
        if number is None:
            return None
        modes, _ = nvpmodel.parse(_text(os.path.join(self.root, nvpmodel.CONF)))
        return nvpmodel.name_of(modes, int(number.group(1)))
