from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from hil.errors import ExitCode
from tests.plugins.project import Project

if TYPE_CHECKING:
    from pathlib import Path

CALIBRATION = '\n[models.toy.calibration]\ndata = "{}"\n'
SLOW = """
import time, numpy as np

def samples():
    print("feeding", flush=True)
    for _ in range(1000):
        time.sleep(0.1)
        yield {"x": np.ones(6, np.float32)}
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A model with real data on this machine's CPU, and its own engine store."""
    return Project.make(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("toz", "--target=cpu"), "did you mean 'toy'"),
        (("toy", "--target=cpuu"), "did you mean 'cpu'"),
        (("toy", "--target=cpu", "--precision=fp33"), "did you mean 'fp32'"),
        (("toy", "--target=cpu", "--precision=int8"), "model toy does not have it on target 'cpu'"),
        (("toy", "--target=cpu", "--time-limit=5"), "--time-limit: a unit is missing"),
        (("toy", "--target=cpu", "--time-limit=0 s"), "--time-limit must be longer than zero"),
        (("toy", "--target=cpu", "--config=nowhere.toml"), "nowhere.toml"),
        (("toy",), "--target"),
    ],
)
def test_a_wrong_call_is_the_users_mistake(project: Project, arguments: tuple[str, ...], message: str) -> None:
    """A mistake gives one line with the correction and exit code 4, and no target is contacted."""
    done = project.hil("build", *arguments)
    assert done.code == ExitCode.USER_ERROR
    assert message in done.out
    assert done.out.count("\n") == 1, done.out


def test_guesses_are_warned_of(project: Project) -> None:
    """A build states what is guessed and not confirmed, as a run does."""
    project.edit('task = "classification"', 'task = "classification"\nguessed = ["task"]')
    done = project.hil("build", "toy", "--target=cpu")
    assert done.code == 0, done.out
    assert "warning: hil.toml:" in done.out
    assert "guessed and not confirmed: task" in done.out


def test_a_file_that_is_not_onnx_is_the_users_mistake(project: Project) -> None:
    """A file that is not an ONNX model exits with 4, whatever error the runtime would raise."""
    (project.root / "toy.onnx").write_bytes(b"not a model")
    done = project.hil("build", "toy", "--target=cpu")
    assert done.code == ExitCode.USER_ERROR
    assert "cannot read" in done.out


def test_a_build_that_takes_too_long_is_stopped(project: Project) -> None:
    """A build over the time limit of the command line fails the command, and the message states the limit."""
    done = project.hil("build", "toy", "--target=cpu", "--time-limit=1 us")
    assert done.code == ExitCode.FAILED
    assert "took longer than" in done.out


def test_one_precision_that_fails_does_not_stop_the_others(project: Project) -> None:
    """If one precision cannot be built, the others are built, and the exit code is that of the failure."""
    project.edit('precisions = ["fp32"]', 'precisions = ["fp16", "fp32"]')
    done = project.hil("build", "toy", "--target=cpu")
    assert done.code == ExitCode.FAILED
    assert "error: " in done.out
    assert len(list((project.root / ".hil" / "cache" / "engines").iterdir())) == 1


def test_all_precisions_are_built_once_in_one_process(project: Project) -> None:
    """One process builds all precisions; a second build takes the engines from the store and writes no report."""
    project.edit('precisions = ["fp32"]', 'precisions = ["fp32", "int8"]')
    path = project.root / "hil.toml"
    path.write_text(path.read_text() + CALIBRATION.format("synthetic"))
    first, second = (project.hil("build", "toy", "--target=cpu") for _ in range(2))
    assert (first.code, second.code) == (ExitCode.PASSED, ExitCode.PASSED), first.out + second.out
    assert "building on cpu" in first.out
    assert "in the store already" in second.out
    engines = [engine.name for engine in (project.root / ".hil" / "cache" / "engines").iterdir()]
    assert len(engines) == 2
    assert all(engine in second.out for engine in engines)
    assert not (project.root / "report").exists()
    records = [json.loads(file.read_text()) for file in project.root.glob("cache/**/engines/*.json")]
    assert {record["facts"]["precision"]: record["about"]["process"] for record in records} == {
        "fp32": "fresh",
        "int8": "kept",
    }


def test_a_users_mistake_in_one_precision_still_shows_the_others(project: Project) -> None:
    """Engines built before a mistake are reported first; the exit code is that of the mistake."""
    project.edit('precisions = ["fp32"]', 'precisions = ["fp32", "int8"]')
    path = project.root / "hil.toml"
    path.write_text(path.read_text() + CALIBRATION.format("synthetic") + 'exclude_nodes = ["nowhere"]\n')
    done = project.hil("build", "toy", "--target=cpu")
    assert done.code == ExitCode.USER_ERROR
    assert "toy on cpu" in done.out
    assert done.out.index("toy on cpu") < done.out.index("error: ")


def test_a_mistake_in_the_data_is_reported_before_anything_is_built(project: Project) -> None:
    """Unusable data of a model is a user error before any build starts."""
    (project.root / "validation.npz").write_bytes(b"no archive")
    done = project.hil("build", "toy", "--target=cpu")
    assert done.code == ExitCode.USER_ERROR
    assert "building on" not in done.out


def test_an_unreachable_target_is_the_labs_fault(project: Project) -> None:
    """A build for an unreachable board is a lab error, and never falls back to the CPU."""
    path = project.root / "hil.toml"
    path.write_text(path.read_text() + '\n[targets.board]\nkind = "ssh"\nhost = "board.invalid"\n')
    done = project.hil("build", "toy", "--target=board")
    assert done.code == ExitCode.LAB_ERROR
    assert not (project.root / ".hil").exists()


def test_an_interrupted_build_releases_the_target(project: Project) -> None:
    """Ctrl-C ends the command at once without a traceback and releases the target."""
    project.edit('precisions = ["fp32"]', 'precisions = ["int8", "fp32"]')
    path = project.root / "hil.toml"
    path.write_text(path.read_text() + CALIBRATION.format("slow:samples"))
    (project.root / "slow.py").write_text(SLOW)
    command = [sys.executable, "-c", "import sys; from hil.cli import main; sys.exit(main())"]
    with subprocess.Popen(
        [*command, "build", "toy", "--target=cpu"],
        cwd=project.root,
        env=project.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "feeding\n"
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert "Traceback" not in out + err
    assert project.hil("build", "toy", "--target=cpu", "--precision=fp32").code == 0
