"""What an interpreter can import and what its libraries say, asked in a process of its own that may crash or hang.

Written line by line, so that the question at which the process ended is known.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
from typing import Any, Dict, List, Optional

from ..failure import short
from ..workers.worker_process import last_lines, signal_name

PATIENCE = 25.0  # seconds; a first import of TensorRT from an SD card takes several
PR_SET_PDEATHSIG = 1  # linux/prctl.h
MOST = 1 << 20
NOWHERE = "/dev/null"
"""As XDG_CACHE_HOME: ONNX Runtime's newer versions begin a data base there on import, and nothing is to be left."""


def main(parent: int, runtimes: List[str], *, gpu: bool) -> None:
    """Asks for numpy, each runtime and, with ``gpu``, what runtimes and CUDA say of the GPU; ends the process."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)  # it died before the line above took effect
    out = os.dup(1)
    os.dup2(2, 1)  # where native libraries print
    _ask(out, "numpy", _numpy)
    for name in runtimes:
        _ask(out, "runtime " + name, lambda name=name: _runtime(name, gpu=gpu))  # type: ignore[misc] # of a lambda
    if gpu:
        _ask(out, "gpus", _gpus)
    os._exit(0)  # destructors of native libraries may hang


def _ask(out: int, name: str, ask: Any) -> None:
    _tell(out, {"begin": name})
    try:
        _tell(out, {"name": name, "value": ask()})
    except Exception as error:  # noqa: BLE001 - imports of native libraries fail in as many ways as there are boards
        _tell(out, {"name": name, "why": "%s: %s" % (type(error).__name__, short(error, 500))})


def _tell(out: int, line: Dict[str, Any]) -> None:
    os.write(out, json.dumps(line).encode() + b"\n")


def _numpy() -> str:
    import numpy as np

    return str(np.__version__)


def _runtime(name: str, *, gpu: bool) -> Dict[str, Any]:
    from ..runtimes import runtime

    __import__(name)  # for its own words where it fails; the driver below says less
    driver = runtime(name)
    return {"version": driver.version(), "facts": driver.facts() if gpu else {}}


def _gpus() -> Any:
    from .probe import gpus

    return gpus()


class ImportProbe:
    """The process that asks; ``answers`` waits for it."""

    def __init__(self, runtimes: List[str], *, gpu: bool) -> None:
        folder = os.path.abspath(__file__)
        for _ in __name__.split("."):
            folder = os.path.dirname(folder)
        code = "import sys; sys.path.insert(0, %r); from %s import main; main(%d, %r, gpu=%r)"
        words = [sys.executable, "-B", "-c", code % (folder, __name__, os.getpid(), runtimes, gpu)]
        here = dict(os.environ, XDG_CACHE_HOME=NOWHERE, CUDA_CACHE_DISABLE="1")
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/", env=here
        )

    def answers(self) -> Dict[str, Any]:
        """``numpy``, ``runtimes``, ``facts``, ``gpus``, and under ``why_not`` the reason for each that is None."""
        how = ""
        try:
            out, err = self.process.communicate(timeout=PATIENCE)
            how = _ended(self.process.returncode)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
            how = "it did not end within %g s" % PATIENCE
        said = last_lines(err[-4096:], 2)
        return read(out[:MOST], how + (" (%s)" % said if said else ""))


def _ended(status: int) -> str:
    return "the interpreter was killed by " + signal_name(-status) if status < 0 else "it ended the interpreter"


def read(out: bytes, how: str) -> Dict[str, Any]:
    """What the process wrote; ``how`` says how it ended, which is the answer to the question it was at."""
    values: Dict[str, Any] = {}
    why: Dict[str, str] = {}
    begun: Optional[str] = None
    for line in out.splitlines():
        try:
            told = json.loads(line.decode())
        except ValueError:
            break  # cut off in the middle
        begun = told.get("begin", begun)
        if "name" in told:
            begun = None
            values[told["name"]] = told.get("value")
            if "why" in told:
                why[told["name"]] = told["why"]
    if begun is not None:
        why[begun] = how
    found: Dict[str, Any] = {"numpy": values.get("numpy"), "runtimes": {}, "facts": {}}
    for name, value in values.items():
        kind, _, runtime = name.partition(" ")
        if kind == "runtime":
            found["runtimes"][runtime] = (value or {}).get("version")
            found["facts"][runtime] = (value or {}).get("facts") or {}
    if values.get("gpus"):
        found["gpus"] = values["gpus"]
    found["why_not"] = {name.split(" ")[-1]: reason for name, reason in why.items()}
    return found
