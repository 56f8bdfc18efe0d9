from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hil.agent.machine import import_probe, survey
from hil.agent.store import holder as peek
from hil.agent.store.lock import SessionLock

CLAIM = {"token": "mine", "who": "alice", "host": "runner", "pid": "7"}
DOCTOR = {"token": "look 1", "who": "doctor", "host": "here", "pid": "1"}


def test_a_store_that_nobody_ever_held_stays_untouched(tmp_path: Path) -> None:
    """There is nobody to keep out, and nothing is written."""
    with peek.held_meanwhile(str(tmp_path), DOCTOR, peek=False) as holder:
        assert holder is None
        assert list(tmp_path.iterdir()) == []


def test_the_holder_is_told_and_goes_on_holding(tmp_path: Path) -> None:
    """By name, without the token that would let anybody join."""
    lock = SessionLock(str(tmp_path))
    assert lock.attempt(CLAIM)
    for only in (True, False):
        with peek.held_meanwhile(str(tmp_path), DOCTOR, peek=only) as holder:
            assert holder is not None
            assert (holder["who"], holder["host"]) == ("alice", "runner")
            assert "token" not in holder
    assert not SessionLock(str(tmp_path)).attempt({**CLAIM, "token": "other"})


def test_it_is_held_while_its_gpu_is_open(tmp_path: Path) -> None:
    """Nobody begins to measure meanwhile; a look at who holds it keeps nobody out."""
    first = SessionLock(str(tmp_path))
    assert first.attempt(CLAIM)
    first.release()
    with peek.held_meanwhile(str(tmp_path), DOCTOR, peek=False) as holder:
        assert holder is None
        assert not SessionLock(str(tmp_path)).attempt(CLAIM)
    with peek.held_meanwhile(str(tmp_path), DOCTOR, peek=True) as holder:
        assert holder is None
        session = SessionLock(str(tmp_path))
        assert session.attempt(CLAIM)
        session.release()


def test_a_lock_that_cannot_be_opened_counts_as_held(tmp_path: Path) -> None:
    """Whoever cannot tell must not open the GPU."""
    (tmp_path / "hold.lock").touch()
    with peek.held_meanwhile(str(tmp_path), DOCTOR, peek=False) as holder:
        assert holder is not None
        assert "why" in holder


def test_a_holder_without_a_name_is_a_holder(tmp_path: Path) -> None:
    """It may die between its lock and its name."""
    assert SessionLock(str(tmp_path)).attempt(CLAIM)
    holding = SessionLock(str(tmp_path))
    assert holding.attempt(CLAIM)
    (tmp_path / "owner.json").write_text("{", encoding="ascii")
    assert peek.holder(str(tmp_path)) in ({"why": "it left no name"}, None)
    holding.release()


def test_the_store_is_judged_before_it_is_there(tmp_path: Path) -> None:
    """By the nearest folder above it, which would have to take it."""
    found = survey.store(str(tmp_path / "a" / "b"))
    assert (found["exists"], found["place"], found["writable"], found["used"]) == (False, str(tmp_path), True, 0)
    (tmp_path / "file").touch()
    assert survey.store(str(tmp_path / "file" / "b"))["writable"] is False


def answered(out: bytes, how: str = "it ended the interpreter") -> dict[str, Any]:
    """What ``importing`` reads from a process that wrote ``out``."""
    return import_probe.read(out, how)


def test_an_import_that_kills_is_told_as_that() -> None:
    """The question at which it ended has the end as its reason; what came before is kept."""
    lines = [{"begin": "numpy"}, {"name": "numpy", "value": "1.19.5"}, {"begin": "runtime tensorrt"}]
    found = answered(b"\n".join(json.dumps(one).encode() for one in lines), "the interpreter was killed by SIGSEGV")
    assert found["numpy"] == "1.19.5"
    assert found["why_not"] == {"tensorrt": "the interpreter was killed by SIGSEGV"}


@pytest.mark.parametrize("out", [b"", b"\xff\n", b'{"begin": "numpy"}\n{"na'])
def test_a_process_that_says_nothing_found_nothing(out: bytes) -> None:
    """None, never a version."""
    found = answered(out)
    assert (found["numpy"], found["runtimes"], found["facts"]) == (None, {}, {})


def test_each_missing_module_has_python_s_own_reason(tmp_path: Path) -> None:
    """Of a real interpreter: numpy that raises, a runtime that is not there."""
    (tmp_path / "numpy.py").write_text("raise ImportError('libopenblas.so.0: cannot open')", encoding="ascii")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from hil.agent.machine import import_probe; import os; "
    code += "import_probe.main(os.getppid(), ['tensorrt_that_is_not'], gpu=False)"
    root = Path(survey.__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, check=True, env={**os.environ, "PYTHONPATH": ""}
    )
    found = answered(done.stdout)
    assert "libopenblas.so.0" in found["why_not"]["numpy"]
    assert "tensorrt_that_is_not" in found["why_not"]["tensorrt_that_is_not"]
