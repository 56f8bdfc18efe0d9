"""A tegrastats that is missing, hangs, prints garbage or does not end causes no error and no zero."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from hil.agent.jetson import tegrastats_process
from hil.agent.jetson.tegrastats_process import SILENCE, STALE, TegrastatsProcess, find
from tests.agent.jetson import orin
from tests.agent.jetson.test_tegrastats import ORIN_R39, SAMPLES

if TYPE_CHECKING:
    from pathlib import Path

HANGS = "time.sleep(600)"
GARBAGE = "while True: os.write(1, os.urandom(300) + b'\\n'); time.sleep(0.02)"
FLOOD = "while True: os.write(1, b'x' * 65536)"
EXITS = "print('no permission', flush=True); sys.exit(3)"
CLOSES_OUTPUT = "os.close(1); os.close(2); time.sleep(600)"
FAILURES = {
    "hangs": (HANGS, "printed no line for 2 s"),
    "garbage": (GARBAGE, "printed a line that cannot be parsed ("),
    "flood": (FLOOD, "printed a line that cannot be parsed (a line without an end) for 2 s"),
    "exits": (EXITS, "ended with exit code 3 after printing 'no permission'"),
    "closes its output": (CLOSES_OUTPUT, "closed its output"),
}


def watch(reader: TegrastatsProcess, seconds: float) -> list[dict[str, Any]]:
    """Return the values read every 100 ms for ``seconds``, or until there is a reason for no values."""
    values, end = [], time.monotonic() + seconds
    while time.monotonic() < end and reader.why is None:
        began = time.monotonic()
        values.append(reader.latest(began))
        assert time.monotonic() - began < 0.5  # it never waits for the program
        time.sleep(0.1)
    return values


def pid_of(reader: TegrastatsProcess) -> int:
    """Return the process id of the running program."""
    process = reader.process
    assert process is not None
    return process.pid


def test_the_newest_line_is_read(tmp_path: Path) -> None:
    """The values are those of the newest line of tegrastats, and closing ends a program that ignores SIGTERM."""
    reader = TegrastatsProcess(str(orin.tegrastats(tmp_path / "tegrastats", ORIN_R39)), time.monotonic())
    pid = pid_of(reader)
    values = watch(reader, 1.5)
    reader.close()
    reader.close()
    assert values[-1] == SAMPLES["R39 AGX Orin"][1]
    assert reader.why is None
    assert not orin.exists(pid)  # reaped, not only dead


@pytest.mark.parametrize("kind", FAILURES)
def test_a_failing_program_gives_a_reason(kind: str, tmp_path: Path) -> None:
    """A tegrastats that fails gives no values and a reason of one line, and its process has ended."""
    body, reason = FAILURES[kind]
    reader = TegrastatsProcess(str(orin.program(tmp_path / "tegrastats", body)), time.monotonic())
    pid = pid_of(reader)
    try:
        assert not any(watch(reader, SILENCE + 3))
        assert reader.why is not None
        assert reader.why.startswith(reason)
        assert reader.why.isprintable()
        assert len(reader.why) < 300
        assert not orin.exists(pid)
        assert reader.latest(time.monotonic()) == {}
    finally:
        reader.close()


@pytest.mark.parametrize("kind", ["missing", "not a program", "folder"])
def test_a_program_that_cannot_start_gives_a_reason(kind: str, tmp_path: Path) -> None:
    """A tegrastats that is missing or cannot be started raises nothing: it gives no values, but a reason."""
    file = tmp_path / "tegrastats"
    if kind == "not a program":
        file.write_bytes(b"\x7fELF nonsense")
        file.chmod(0o755)
    path = None if kind == "missing" else str(tmp_path if kind == "folder" else file)
    reader = TegrastatsProcess(path, 0.0)
    assert reader.latest(1.0) == {}
    assert reader.why is not None
    assert reader.why.startswith("not found" if kind == "missing" else "cannot be started: ")
    reader.close()


def test_an_old_line_expires(tmp_path: Path) -> None:
    """A program that stops printing gives no values after half a second, and a reason after two seconds."""
    line = f"print({ORIN_R39!r}, flush=True); time.sleep(600)"
    reader = TegrastatsProcess(str(orin.program(tmp_path / "tegrastats", line)), time.monotonic())
    try:
        end = time.monotonic() + 5
        while not reader.latest(time.monotonic()) and time.monotonic() < end:
            time.sleep(0.02)
        read_at = time.monotonic()
        assert reader.latest(read_at + STALE / 2)
        assert reader.latest(read_at + STALE + 0.1) == {}
        assert reader.why is None
        assert reader.latest(read_at + SILENCE + 0.1) == {}
        assert reader.why == "printed no line for 2 s"
    finally:
        reader.close()


def test_children_of_tegrastats_are_killed(tmp_path: Path) -> None:
    """If tegrastats is a script that starts the real program, both are killed."""
    body = "import subprocess; print(subprocess.Popen(['sleep', '600']).pid, flush=True); time.sleep(600)"
    reader = TegrastatsProcess(str(orin.program(tmp_path / "tegrastats", body)), time.monotonic())
    end = time.monotonic() + 5
    while not reader.odd and time.monotonic() < end:
        reader.latest(time.monotonic())
        time.sleep(0.05)
    child = int(reader.odd.strip("'"))
    assert orin.is_running(child)
    reader.close()
    while orin.is_running(child) and time.monotonic() < end:
        time.sleep(0.02)
    assert not orin.is_running(child)


def test_tegrastats_ends_with_the_supervisor(tmp_path: Path) -> None:
    """If the supervisor is killed, tegrastats is killed too."""
    program = orin.program(tmp_path / "tegrastats", HANGS)
    code = (
        "import time, sys; from hil.agent.jetson.tegrastats_process import TegrastatsProcess; "
        "print(TegrastatsProcess(sys.argv[1], 0.0).process.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(program)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert orin.is_running(pid)
        parent.send_signal(signal.SIGKILL)
    end = time.monotonic() + 5
    while orin.is_running(pid) and time.monotonic() < end:
        time.sleep(0.02)
    assert not orin.is_running(pid)


def test_tegrastats_is_searched_in_path_then_usr_bin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PATH is searched first; a file that is not executable is skipped."""
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "tegrastats").write_text("no program")
    usual = "/usr/bin/tegrastats"
    assert find() == (usual if os.access(usual, os.X_OK) else None)
    program = orin.program(tmp_path / "tegrastats", HANGS)
    assert find() == str(program)
    assert tegrastats_process.INTERVAL_MS == 100
