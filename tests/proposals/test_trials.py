"""A trial run is bounded, and a crash or time-out ends only this trial."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import numpy as np

from hil.config.models import InputSpec
from hil.proposals.trials import Trial, TrialProcess, Trials
from tests.proposals import networks

if TYPE_CHECKING:
    from pathlib import Path

SMALL = Trial(inputs={"image": InputSpec(range=(0, 255))}, shapes={"image[2]": 8, "image[3]": 9}, batch=2)


def test_a_trial_that_crashes_or_hangs_ends_only_itself(tmp_path: Path) -> None:
    """After too little memory, a crash, a time-out and a model that cannot be loaded, the next trial runs."""
    text = """network (float[batch, n] x) => (float[rows, columns] y) {
        sizes = Shape (x)
        larger = Mul (sizes, factor)
        y = Expand (zero, larger)
    }"""
    zero, factor = np.zeros((1, 1), np.float32), np.array([1, 10**12])
    huge = networks.save(tmp_path / "huge.onnx", text, zero=zero, factor=factor)
    good = networks.classifier(tmp_path / "model.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with TrialProcess() as process:
        assert "ONNX Runtime failed in a trial run" in Trials(process, huge).run(Trial(shapes={"n": 100})).error
        child = process._child  # noqa: SLF001 - the process that is killed in place of a runtime's crash
        assert child is not None
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        crashed = Trials(process, huge).run(Trial(shapes={"n": 1}))
        assert (crashed.error, crashed.loaded) == ("the runtime crashed: the process ended by signal 9", True)
        slow = Trials(process, good, running=0)
        assert slow.run(Trial(shapes={"image[2]": 4000, "image[3]": 4000}, batch=8)).error == "no result within 0 s"
        bad = Trials(process, tmp_path / "bad.onnx").run(Trial())
        assert "cannot read" in bad.error
        assert not bad.loaded
        answer = Trials(process, good).run(SMALL)
        assert (answer.inputs, answer.outputs) == ({"image": (2, 3, 8, 9)}, {"logits": (2, 10)})


def test_no_trial_starts_after_the_time_is_up(tmp_path: Path) -> None:
    """Without time for trials no process is started, and the answer states it."""
    with TrialProcess() as process:
        trials = Trials(process, tmp_path / "absent.onnx", most=0)
        assert trials.run(Trial()).error == "no time is left for trial runs"
        assert (trials.count, process._child) == (0, None)  # noqa: SLF001 - nothing else shows it


def test_a_trial_runs_what_a_run_would(tmp_path: Path) -> None:
    """Declared names are written into a copy of the file, which is loaded once for all trials with these names."""
    path = networks.lengths(tmp_path / "m.onnx")
    own = {"b": InputSpec(shape=("batch", "b[1]"))}
    with TrialProcess() as process:
        trials = Trials(process, path)
        wrong = trials.run(Trial({"b": InputSpec(shape=("batch", 32))}, {"n": 64}))
        assert (wrong.ran, wrong.loaded) == (False, True)
        for batch in (1, 2):
            answer = trials.run(Trial(own, {"n": 128, "b[1]": 64}, batch))
            assert answer.outputs == {"y": (batch, 1, 1)}, answer.error
        count = trials.count
        assert trials.run(Trial(own, {"n": 128, "b[1]": 64}, 2)) == answer
        assert trials.count == count  # what ran is not run again
