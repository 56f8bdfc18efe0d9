"""Start Python commands by a fork of a process that has imported the heavy libraries, which saves the imports.

The code, arguments, environment, working folder and standard streams are those of a fresh interpreter. The pytest
plugin, its fixtures and the suites are not imported beforehand, because pytest rewrites some of them. The main job and
``tests/test_startup.py`` start real interpreters.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import types
import warnings
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from tests.warm_agent import forks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LIBRARIES = (
    "numpy",
    "onnx",
    "onnxruntime",
    "pydantic",
    "rich.console",
    "rich.table",
    "typer",
    "jinja2",
    "sqlalchemy",
    "sqlite3",
    "alembic.command",
    "scipy.fft",
    "cryptography.hazmat.primitives.serialization",
    "execnet",
    "pdb",
    "_pytest.main",
)
OWN_MODULES = (
    "hil.advice",
    "hil.config.load",
    "hil.gate",
    "hil.history.add_run",
    "hil.history.connect",
    "hil.history.migrations",
    "hil.report.html",
    "hil.report.markdown",
    "hil.report.terminal",
    "hil.session.core",
    "hil.session.preflight",
    "hil.targets.local",
    "hil.targets.ssh.target",
)
"""Imported before the first fork. No module of ``hil.plugins``, ``hil.fixtures`` or ``hil.suites`` is among them."""

AT_START = ("PYTHON", "LD_", "LC_", "LANG", "FAKETIME", "MALLOC_", "OMP_", "OPENBLAS_")
"""Variables that act only when an interpreter starts. If one of them differs, a fork would ignore it."""

SIZE = 4  # bytes that hold the length of a request


def run(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Return what ``python -m pytest ARGUMENTS`` or ``python -c CODE ARGUMENTS`` returned, with its output as text.

    ``command`` begins with ``sys.executable``. Commands with other options, or with variables for the interpreter's
    start, get a fresh interpreter. Raise ``subprocess.TimeoutExpired`` after ``timeout`` seconds.
    """
    if command[1] not in {"-m", "-c"} or _at_start(env) != _at_start(os.environ) or (cwd / "sitecustomize.py").exists():
        return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout, check=False)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(_server())
        pipes = [os.pipe(), os.pipe()]
        request = json.dumps({"argv": list(command[1:]), "cwd": str(cwd), "env": dict(env)}).encode()
        socket.send_fds(connection, [len(request).to_bytes(SIZE, "big")], [write for _, write in pipes])
        connection.sendall(request)
        for _, write in pipes:
            os.close(write)
        texts = ["", ""]
        readers = [threading.Thread(target=_read, args=(texts, at, read)) for at, (read, _) in enumerate(pipes)]
        for reader in readers:
            reader.start()
        with connection.makefile("r", encoding="ascii") as answers:
            pid = int(answers.readline())
            connection.settimeout(timeout)
            try:
                code = int(answers.readline())
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(command, timeout, texts[0].encode(), texts[1].encode()) from None
        for reader in readers:
            reader.join()
    return subprocess.CompletedProcess(list(command), code, *texts)


def _at_start(env: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in env.items() if name.startswith(AT_START) and name != "PYTHONPATH"}


def _read(texts: list[str], at: int, descriptor: int) -> None:
    with os.fdopen(descriptor, encoding=sys.stdout.encoding or "utf-8", errors="replace") as stream:
        texts[at] = stream.read()


@functools.cache
def _server() -> str:
    """Start the warm process of this test process; return its socket."""
    folder = tempfile.mkdtemp(prefix="hil-warm-")
    path = f"{folder}/socket"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.warm_start", path],
        cwd=Path(__file__).parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    atexit.register(_end, process, Path(folder))
    return path


def _end(process: subprocess.Popen[bytes], folder: Path) -> None:
    try:
        process.communicate(timeout=10)  # closes its standard input, which ends it
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    for path in (folder / "socket", folder):
        with contextlib.suppress(OSError):
            path.unlink() if path.is_socket() else path.rmdir()


def serve(path: str) -> None:
    """Fork for each connection, until standard input ends with the test process."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    for name in (*LIBRARIES, *OWN_MODULES):
        import_module(name)
    import_module("hil.report.html")._template()  # noqa: SLF001 - compiled once, for all forks
    gc.freeze()  # existing objects are permanent: forks do not collect them
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)  # numpy's idle threads
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        _reap()
        if os.fork() == 0:
            listener.close()
            _attend(connection)
        connection.close()
    _reap()


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _attend(connection: socket.socket) -> None:
    """Fork once more to run the requested command; answer with its process id and its exit code."""
    os.setsid()
    size, descriptors, _, _ = socket.recv_fds(connection, SIZE, 2)
    with connection.makefile("rb") as stream:
        request: dict[str, Any] = json.loads(stream.read(int.from_bytes(size, "big")))
    pid = os.fork()
    if pid == 0:
        connection.close()
        for descriptor, standard in zip(descriptors, (1, 2), strict=True):
            os.dup2(descriptor, standard)
            os.close(descriptor)
        _become(request)
    for descriptor in descriptors:
        os.close(descriptor)
    with contextlib.suppress(OSError):
        connection.sendall(b"%d\n" % pid)
        _, status = os.waitpid(pid, 0)
        connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _become(request: dict[str, Any]) -> NoReturn:
    """Run the command and exit as ``python`` does, but without destroying the remaining objects."""
    code = 1
    try:
        _execute(request)
        code = 0
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)  # noqa: T201 - as the interpreter does
        else:
            code = int(end.code or 0)
    except BaseException:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - waits for threads, as the interpreter does
    atexit._run_exitfuncs()  # noqa: SLF001 - as the interpreter does
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code & 0xFF)


def _execute(request: dict[str, Any]) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    forks.install()
    kind, what, *arguments = request["argv"]
    here = request["cwd"] if kind == "-m" else ""
    sys.path[0:1] = [here, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    sys.path_importer_cache.clear()
    folder = str(Path(__file__).parent)
    for name, module in list(sys.modules.items()):  # a run's report lists its imported files; these are not its own
        if name != "__main__" and str(getattr(module, "__file__", None)).startswith(folder):
            del sys.modules[name]
    if kind == "-m":
        sys.argv = [what, *arguments]
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        sys.argv = ["-c", *arguments]
        module = types.ModuleType("__main__")
        sys.modules["__main__"] = module
        exec(compile(what, "<string>", "exec"), module.__dict__)  # noqa: S102 - what python -c does, for our tests


if __name__ == "__main__":
    serve(sys.argv[1])
