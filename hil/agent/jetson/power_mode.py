"""Read the current power mode by name, from ``nvpmodel`` or, if it is not installed, from its status file.

``nvpmodel -q`` prints ``NV Power Mode: MAXN`` and then the mode's id; a warning about the fan may precede them.
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
PRINTED_NAME = re.compile(r"^NV Power Mode:\s*(\S+)\s*$", re.MULTILINE)
STORED_NUMBER = re.compile(r"\bpmode:0*(\d+)\b")
MOST = 1 << 20


class Late(OSError):
    """The command did not end before its deadline."""


def output_of(command: List[str], deadline: float = DEADLINE) -> str:
    """Return what a command prints to standard output and error, at most ``MOST`` bytes, as text.

    Raise ``Late`` if it runs longer than ``deadline`` seconds, another ``OSError`` if it cannot be run or fails.
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
    """Reads the power mode. If nvpmodel has hung once, it is not run again."""

    def __init__(self, root: str = "/", program: Optional[str] = None, deadline: float = DEADLINE) -> None:
        self.root = root
        self.deadline = deadline
        self._program = program
        self._hung = ""

    def program(self) -> Optional[str]:
        """Return the path of nvpmodel, or None if it cannot be run."""
        if self._program is not None:
            return self._program if os.access(self._program, os.X_OK) else None
        places = [os.path.join(self.root, place) for place in PLACES]
        return shutil.which("nvpmodel", path=os.pathsep.join(places))

    def _missing(self) -> bool:
        places = [os.path.join(self.root, place, "nvpmodel") for place in PLACES]
        return not any(os.path.lexists(path) for path in ([self._program] if self._program is not None else places))

    def read(self, why: Dict[str, str]) -> Optional[str]:
        """Return the current mode's name, or None with the reason in ``why["power_mode"]``."""
        if self._missing():
            name, reason = self._from_status_file(), "there is no nvpmodel"
        else:
            # The status file may name a mode that nvpmodel failed to set, so it is not used if nvpmodel is installed.
            name, reason = self._from_nvpmodel()
        if name is None:
            why["power_mode"] = reason
        return name

    def _from_nvpmodel(self) -> Tuple[Optional[str], str]:
        program = self.program()
        if program is None:
            return None, "this user may not run nvpmodel"
        if self._hung:
            return None, self._hung
        try:
            match = PRINTED_NAME.search(output_of([program, "-q"], self.deadline))
        except OSError as error:
            reason = "nvpmodel -q: %s" % (error.strerror or error)
            if isinstance(error, Late):
                self._hung = reason
            return None, reason
        return (None, "nvpmodel -q names no mode") if match is None else (match.group(1), "")

    def _from_status_file(self) -> Optional[str]:
        """Return the name that ``nvpmodel.conf`` gives to the mode number in the status file.

        Return None if there is no number or no such mode.
        """
        number = STORED_NUMBER.search(_text(os.path.join(self.root, STATUS)))
        if number is None:
            return None
        modes, _ = nvpmodel.parse(_text(os.path.join(self.root, nvpmodel.CONF)))
        return nvpmodel.name_of(modes, int(number.group(1)))
