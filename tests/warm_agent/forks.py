"""Start the agent of a host that is its own target, and its workers, as forks of processes that are warm already.

A fork runs the same code with the same arguments, descriptors, signals and parent. Tests about memory, start time or
command line use the fixture ``fresh_workers``. Agents on boards, in containers and under another interpreter are never
forks.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import runpy
import signal
import subprocess
import sys
import threading
import warnings
from importlib import import_module
from typing import Any, NoReturn

FRESH = "HIL_TESTS_FRESH_WORKERS"
OTHER_PROCESSES = {"--load", "--activate", "--inside"}
RUNTIMES = ("numpy", "onnxruntime")

_fork_exec = getattr(subprocess, "_fork_exec", None)  # from CPython 3.11 on; before that, nothing is a fork


def install() -> None:
    """Let this process fork instead of starting an agent of this host or a worker."""
    if _fork_exec is not None:
        subprocess._fork_exec = _start  # type: ignore[attr-defined]  # noqa: SLF001 - the one place where Popen forks


def _start(args: list[Any], *options: Any) -> int:
    """Return the new process's id; the parameters are those of ``_posixsubprocess.fork_exec``."""
    assert _fork_exec is not None
    if not _is_agent(args) or FRESH in os.environ or not _imported():
        return int(_fork_exec(args, *options))
    pid = os.fork()
    if pid == 0:
        _become(args, *options)
    return pid


def _is_agent(args: list[Any]) -> bool:
    return args[1:2] == ["-X"] and args[2].startswith("hil_agent=") and not OTHER_PROCESSES & set(args)


def _imported() -> bool:
    """Import the runtimes. Return False if one is missing."""
    try:
        for name in RUNTIMES:
            import_module(name)
    except ImportError:
        return False
    return True


def _become(
    args: list[str],
    _executables: Any,
    _close: bool,
    keep: tuple[int, ...],
    cwd: Any,
    env: list[bytes] | None,
    stdin: int,
    _1: int,
    _2: int,
    stdout: int,
    _3: int,
    stderr: int,
    _4: int,
    failure: int,
    _restore: bool,
    new_session: bool,
    *_: Any,
) -> NoReturn:
    """Run ``python -X hil_agent=FOLDER ARCHIVE …`` with what a new interpreter would have, and exit as it would."""
    code = 1
    try:
        gc.freeze()  # objects of the parent are never collected here: that would close descriptors of this process
        faulthandler.disable()
        for descriptor, standard in ((stdin, 0), (stdout, 1), (stderr, 2)):
            if descriptor != -1:
                os.dup2(descriptor, standard)
        for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - complete before the first one is closed
            if int(name) not in {0, 1, 2, *keep} - {failure}:
                with contextlib.suppress(OSError):
                    os.close(int(name))
        if new_session:
            os.setsid()
        if cwd is not None:
            os.chdir(cwd)
        if env is not None:
            os.environb.clear()
            os.environb.update((name, text) for name, _, text in (entry.partition(b"=") for entry in env))
        _reset()
        sys._xoptions["hil_agent"] = args[2].partition("=")[2]  # noqa: SLF001 - as in sitecustomize
        sys.argv = args[3:]
        runpy.run_path(args[3], run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter does
        sys.__excepthook__(*sys.exc_info())
    finally:
        with contextlib.suppress(Exception):
            threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - waits, as the interpreter does
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _reset() -> None:
    """Undo what pytest and the parent have changed in this interpreter."""
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, default)
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        setattr(sys, name, os.fdopen(descriptor, "w" if descriptor else "r", closefd=False))
    sys.excepthook, sys.unraisablehook = sys.__excepthook__, sys.__unraisablehook__
    threading.excepthook = threading.__excepthook__
    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != "_pytest.assertion.rewrite"]
    warnings.resetwarnings()
    warnings.simplefilter("ignore", DeprecationWarning)
