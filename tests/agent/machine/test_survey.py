from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hil.agent.machine import import_probe, survey
from hil.agent.store.holder import held_if_free, holder
from hil.agent.store.lock import SessionLock

CLAIM = {"token": "mine", "who": "alice", "host": "runner", "pid": "7"}
SURVEYOR = {"token": "survey 1", "who": "doctor", "host": "here", "pid": "1"}


def test_a_survey_writes_nothing_into_a_store_never_held(tmp_path: Path) -> None:
    """A survey of a store that was never held writes nothing into it."""
    with held_if_free(str(tmp_path), SURVEYOR, holder_only=False) as owner:
        assert owner is None
        assert list(tmp_path.iterdir()) == []


def test_the_holder_is_reported_and_keeps_its_hold(tmp_path: Path) -> None:
    """The report gives the holder's name and host, without the token that would allow joining its session."""
    lock = SessionLock(str(tmp_path))
    assert lock.attempt(CLAIM)
    for holder_only in (True, False):
        with held_if_free(str(tmp_path), SURVEYOR, holder_only=holder_only) as owner:
            assert owner is not None
            assert (owner["who"], owner["host"]) == ("alice", "runner")
            assert "token" not in owner
    assert not SessionLock(str(tmp_path)).attempt({**CLAIM, "token": "other"})


def test_the_store_is_held_during_a_full_survey(tmp_path: Path) -> None:
    """No session can start during a full survey; reading only the holder excludes no session."""
    first = SessionLock(str(tmp_path))
    assert first.attempt(CLAIM)
    first.release()
    with held_if_free(str(tmp_path), SURVEYOR, holder_only=False) as owner:
        assert owner is None
        assert not SessionLock(str(tmp_path)).attempt(CLAIM)
    with held_if_free(str(tmp_path), SURVEYOR, holder_only=True) as owner:
        assert owner is None
        session = SessionLock(str(tmp_path))
        assert session.attempt(CLAIM)
        session.release()


def test_a_lock_that_cannot_be_opened_counts_as_held(tmp_path: Path) -> None:
    """A store whose holder is unknown counts as held."""
    (tmp_path / "hold.lock").touch()
    with held_if_free(str(tmp_path), SURVEYOR, holder_only=False) as owner:
        assert owner is not None
        assert "why" in owner


def test_a_holder_without_a_name_counts_as_one(tmp_path: Path) -> None:
    """A holder whose name cannot be read is reported with a reason, not with a name."""
    assert SessionLock(str(tmp_path)).attempt(CLAIM)
    holding = SessionLock(str(tmp_path))
    assert holding.attempt(CLAIM)
    (tmp_path / "owner.json").write_text("{", encoding="ascii")
    assert holder(str(tmp_path)) == {"why": "it recorded no name"}
    holding.release()


def test_a_store_that_does_not_exist_is_judged_by_its_parent(tmp_path: Path) -> None:
    """Whether a store can be created is judged by the nearest existing folder above it."""
    facts = survey.store(str(tmp_path / "a" / "b"))
    assert (facts["exists"], facts["place"], facts["writable"], facts["used"]) == (False, str(tmp_path), True, 0)
    (tmp_path / "file").touch()
    assert survey.store(str(tmp_path / "file" / "b"))["writable"] is False


def parse(out: bytes, ending: str = "it ended the interpreter") -> dict[str, Any]:
    """Return what ``import_probe`` reads from a process that wrote ``out``."""
    return import_probe.read(out, ending)


def test_an_import_that_kills_the_interpreter_is_named() -> None:
    """If an import ends the interpreter, its reason is how the process ended; earlier complete answers are kept."""
    lines = [{"begin": "numpy"}, {"name": "numpy", "value": "1.19.5"}, {"begin": "runtime tensorrt"}]
    facts = parse(b"\n".join(json.dumps(line).encode() for line in lines), "the interpreter was killed by SIGSEGV")
    assert facts["numpy"] == "1.19.5"
    assert facts["why_not"] == {"tensorrt": "the interpreter was killed by SIGSEGV"}


@pytest.mark.parametrize("out", [b"", b"\xff\n", b'{"begin": "numpy"}\n{"na'])
def test_a_process_without_output_gives_no_facts(out: bytes) -> None:
    """If the process writes nothing usable, every version is None."""
    facts = parse(out)
    assert (facts["numpy"], facts["runtimes"], facts["facts"]) == (None, {}, {})


def test_each_missing_module_has_python_s_own_reason(tmp_path: Path) -> None:
    """If imports of numpy and of a runtime raise, the reason of each is the message of its exception."""
    (tmp_path / "numpy.py").write_text("raise ImportError('libopenblas.so.0: cannot open')", encoding="ascii")
    (tmp_path / "tensorrt.py").write_text("raise ImportError('libnvinfer.so.8: cannot open')", encoding="ascii")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from hil.agent.machine import import_probe; import os; "
    code += "import_probe.main(os.getppid(), ['tensorrt'], gpu=False)"
    root = Path(survey.__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, check=True, env={**os.environ, "PYTHONPATH": ""}
    )
    facts = parse(done.stdout)
    assert "libopenblas.so.0" in facts["why_not"]["numpy"]
    assert "libnvinfer.so.8" in facts["why_not"]["tensorrt"]


def test_an_import_that_takes_too_long_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each import without an answer at the time limit is listed as late, with a reason; no other import is."""
    monkeypatch.setattr(import_probe, "PATIENCE", 0.001)
    facts = import_probe.ImportProbe(["onnxruntime"], gpu=False).answers()
    assert facts["late"] == ["onnxruntime", "numpy"]
    assert all("it did not end within 0.001 s" in facts["why_not"][name] for name in facts["late"])
    monkeypatch.setattr(import_probe, "PATIENCE", 120.0)
    facts = import_probe.ImportProbe(["onnxruntime", "tensorrt"], gpu=False).answers()
    assert facts["late"] == []
    assert set(facts["why_not"]) <= {"tensorrt"}
