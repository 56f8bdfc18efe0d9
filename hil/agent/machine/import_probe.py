"""Determine what the interpreter can import, in a separate process, since an import may crash or hang."""

import ctypes
import json
import os
import signal
import subprocess
import sys
from typing import Any, Dict, List, Optional

from ..failure import short
from ..own_command import own_path
from ..workers.worker_process import last_lines, signal_name

PATIENCE = 25.0  # seconds; a first import of TensorRT from an SD card takes several
PR_SET_PDEATHSIG = 1  # linux/prctl.h
MOST = 1 << 20
NOWHERE = "/dev/null"
"""Value of XDG_CACHE_HOME: newer versions of ONNX Runtime create a database there on import, which must not remain."""


def main(parent: int, runtimes: List[str], *, gpu: bool) -> None:
    """Import numpy and each runtime, write the answers to standard output and end the process.

    With ``gpu``, query the GPUs as well. ``parent`` is the id of the process that started this one; if that process has
    ended, end at once.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)  # the parent died before the line above took effect
    out = os.dup(1)
    os.dup2(2, 1)  # native libraries print to descriptor 1
    _ask(out, "numpy", _numpy)
    for name in runtimes:
        _ask(out, "runtime " + name, lambda name=name: _runtime(name, gpu=gpu))  # type: ignore[misc] # of a lambda
    if gpu:
        _ask(out, "gpus", _gpus)
    os._exit(0)  # destructors of native libraries may hang


def _ask(out: int, name: str, ask: Any) -> None:
    _write(out, {"begin": name})
    try:
        _write(out, {"name": name, "value": ask()})
    except Exception as error:  # noqa: BLE001 - the import of a native library may raise any exception
        _write(out, {"name": name, "why": "%s: %s" % (type(error).__name__, short(error, 500))})


def _write(out: int, line: Dict[str, Any]) -> None:
    os.write(out, json.dumps(line).encode() + b"\n")


def _numpy() -> str:
    import numpy as np

    return str(np.__version__)


def _runtime(name: str, *, gpu: bool) -> Dict[str, Any]:
    from ..runtimes import runtime

    driver = runtime(name)
    __import__(driver.module)  # its ImportError gives the reason; version() only returns None
    return {"version": driver.version(), "facts": driver.facts() if gpu else {}}


def _gpus() -> Any:
    from .probe import gpus

    return gpus()


class ImportProbe:
    """A process that imports numpy and ``runtimes``; ``answers`` waits for its end."""

    def __init__(self, runtimes: List[str], *, gpu: bool) -> None:
        self.runtimes = runtimes
        code = "import sys; sys.path.insert(0, %r); from %s import main; main(%d, %r, gpu=%r)"
        command = [sys.executable, "-B", "-c", code % (own_path(), __name__, os.getpid(), runtimes, gpu)]
        environment = dict(os.environ, XDG_CACHE_HOME=NOWHERE, CUDA_CACHE_DISABLE="1")
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/", env=environment
        )

    def answers(self) -> Dict[str, Any]:
        """Wait for the process, and return ``numpy`` and ``runtimes`` (versions), ``facts`` by runtime, and ``gpus``.

        The process is killed after ``PATIENCE`` seconds. A version is None if the import failed; a runtime whose import
        did not end is left out. ``why_not`` has the reason for each missing answer; ``late`` lists the names without an
        answer in time. ``gpus`` is missing if no GPU was queried or found.
        """
        how, late = "", False
        try:
            out, err = self.process.communicate(timeout=PATIENCE)
            how = _ended(self.process.returncode)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
            how, late = "it did not end within %g s" % PATIENCE, True
        printed = last_lines(err[-4096:], 2)
        facts = read(out[:MOST], how + (" (%s)" % printed if printed else ""))
        asked = dict({name: name in facts["runtimes"] for name in self.runtimes}, numpy=facts["numpy"] is not None)
        missing = [name for name, answered in asked.items() if not answered]
        facts["late"] = [name for name in missing if late and facts["why_not"].get(name, how).startswith(how)]
        for name in missing:
            facts["why_not"].setdefault(name, "not tried, since an import before it did not end: %s" % how)
        return facts


def _ended(status: int) -> str:
    return "the interpreter was killed by " + signal_name(-status) if status < 0 else "it ended the interpreter"


def read(out: bytes, how: str) -> Dict[str, Any]:
    """Return what ``ImportProbe.answers`` returns, from the lines ``out`` that the process wrote.

    ``how`` states how the process ended; this is the reason for an import that did not end.
    """
    values: Dict[str, Any] = {}
    why: Dict[str, str] = {}
    begun: Optional[str] = None
    for line in out.splitlines():
        try:
            line_fields = json.loads(line.decode())
        except ValueError:
            break  # cut off in the middle
        begun = line_fields.get("begin", begun)
        if "name" in line_fields:
            begun = None
            values[line_fields["name"]] = line_fields.get("value")
            if "why" in line_fields:
                why[line_fields["name"]] = line_fields["why"]
    if begun is not None:
        why[begun] = how
    facts: Dict[str, Any] = {"numpy": values.get("numpy"), "runtimes": {}, "facts": {}}
    for name, value in values.items():
        kind, _, runtime = name.partition(" ")
        if kind == "runtime":
            facts["runtimes"][runtime] = (value or {}).get("version")
            facts["facts"][runtime] = (value or {}).get("facts") or {}
    if values.get("gpus"):
        facts["gpus"] = values["gpus"]
    facts["why_not"] = {name.split(" ")[-1]: reason for name, reason in why.items()}
    return facts
