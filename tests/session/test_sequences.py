"""Sequences are judged on a target: planted faults fail or do not pass, and a sound model passes."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import helper

from hil.config.load import load
from hil.errors import UserError
from hil.results import Limit, Row, Sense, Verdict
from hil.session import Request, Session
from hil.session.preflight import preflight
from hil.session.properties.drawing import DRAWN_STEPS
from hil.session.sampling import replicates
from tests import recurrent
from tests.models import write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hil.results import CheckResult

TOML = """
[models.{name}]
path = "{path}.onnx"
data = "{data}.npz"
{extra}
[models.{name}.inputs.h]
carry = "hn"
batch_axis = 1
"""
LABEL_NOISE = np.float32(0.01)
SCALARS = "[models.scalars.inputs.gain]\nvalue = 0.5"
RISES = 40
"""From this step on, the inputs are larger than any in the calibration data."""
ROWS = ("teacher_forced", "free_running", "reset", "isolation")
BOUNDS = [
    helper.make_node("Constant", [], ["low"], value_float=-0.4),
    helper.make_node("Constant", [], ["high"], value_float=0.4),
]
FAULTS: dict[str, dict[str, Any]] = {
    "scaled": {"scale": 0.9},
    "lost": {"fed": "nothing", "after": [helper.make_node("Sub", ["h", "h"], ["nothing"])]},
    "clipped": {"fed": "clipped", "after": [*BOUNDS, helper.make_node("Clip", ["h", "low", "high"], ["clipped"])]},
}
CAUSES = {"scaled": "is scaled by 0.9", "lost": "is reset at each step", "clipped": "clips at 0.4 from step"}
ONWARD = helper.make_node("CumSum", ["h", "along"], ["onward"])
"""A node that adds to each sequence's state the states of all sequences before it in the batch."""

MEAN = helper.make_node("ReduceMean", ["h"], ["mean"], axes=[1], keepdims=1)
X = recurrent.inputs(6, 60)
DATA = {
    "data": {"x": X},
    "zeros": {"x": np.zeros_like(X)},
    "two": {"x": X[:2]},
    "ragged": {
        "x": np.concatenate([X[:5, :55], np.full((5, 5, 3), np.nan, np.float32)], axis=1),  # padding is never read
        "h": np.random.default_rng(0).normal(size=(5, 1, 4)).astype(np.float32),
        "lengths": np.array([40, 50, 55, 45, 40]),
    },
}
DATA["rising"] = {"x": X * np.where(np.arange(60) < RISES, 0.2, 1.0)[None, :, None].astype(np.float32)}
DATA["many"] = {"x": recurrent.inputs(80, 12, seed=3)}
DATA["quiet"] = {"x": recurrent.inputs(4, 30, seed=1) * np.float32(0.2)}
DATA["labelled"] = {"x": X, "labels.y": np.moveaxis(recurrent.expected(np.moveaxis(X, 0, 1))["y"], 1, 0) + LABEL_NOISE}
INT8 = 'precisions = ["int8"]\n[models.short.calibration]\ndata = "quiet.npz"\nmethod = "minmax"'
FEW = INT8.replace("short", "few").replace("quiet", "rising") + "\nsamples = 24"
KIND = '[models.{}.outputs.y]\nkind = "classification"\nscore = 0.0'
"""Makes the output ``y`` the scores of two classes."""

MODELS = {
    "classes": ("m", "many", KIND.format("classes")),
    "few_classes": ("m", "data", KIND.format("few_classes")),
    "lost_classes": ("m", "data", 'deployed = "lost.onnx"\n' + KIND.format("lost_classes")),
    "sound": ("m", "data", ""),
    "batched": ("m", "data", "batch = 2"),
    "leaking": ("leaking", "data", "batch = 2"),
    "onward": ("onward", "data", "batch = 2"),
    "unused": ("unused", "data", ""),
    "zeros": ("m", "zeros", ""),
    "two": ("m", "two", ""),
    "ragged": ("m", "ragged", ""),
    "short": ("m", "rising", INT8),
    "stacked": ("stacked", "rising", INT8.replace("short", "stacked")),
    "few": ("m", "rising", FEW),
    "scalars": ("scalars", "data", SCALARS),
    "scored": ("m", "labelled", 'task = "regression"'),
    "badly_scored": ("m", "labelled", 'task = "regression"\ndeployed = "scaled.onnx"'),
    **{name: ("m", "data", f'deployed = "{name}.onnx"') for name in FAULTS},
}


def write_scalars(path: Path) -> None:
    """Write a model with a constant scalar ``gain`` and a scalar state: ``hn = 0.9 h + gain``, ``y = x + hn``."""
    nodes = [
        helper.make_node("Constant", [], ["share"], value_float=0.9),
        helper.make_node("Mul", ["h", "share"], ["kept"]),
        helper.make_node("Add", ["kept", "gain"], ["hn"]),
        helper.make_node("Add", ["x", "hn"], ["y"]),
    ]
    write(path, nodes, {"x": ["batch", 3], "h": [], "gain": []}, {"y": ["batch", 3], "hn": []})


def write_stacked(path: Path) -> None:
    """Write a model whose state ``h`` has the states of two layers."""
    random = np.random.default_rng(5)
    weights = {name: (0.4 * random.normal(size=(3, 3))).astype(np.float32) for name in ("r", "w", "c")}
    numbers = {"first": np.array(0), "second": np.array(1), "axis": np.array([0]), "share": np.array(0.95, np.float32)}
    nodes = []
    for op, inputs, output in (
        ("Gather", ["h", "first"], "lower"),
        ("Gather", ["h", "second"], "upper"),
        ("MatMul", ["lower", "r"], "lr"),
        ("Add", ["lr", "x"], "sum"),
        ("Tanh", ["sum"], "low"),
        ("MatMul", ["low", "w"], "lw"),
        ("Mul", ["upper", "share"], "kept"),
        ("Add", ["kept", "lw"], "high"),
        ("MatMul", ["upper", "c"], "y"),
        ("Unsqueeze", ["low", "axis"], "lows"),
        ("Unsqueeze", ["high", "axis"], "highs"),
        ("Concat", ["lows", "highs"], "hn"),
    ):
        axis: dict[str, Any] = {"axis": 0} if op in {"Gather", "Concat"} else {}
        nodes.append(helper.make_node(op, inputs, [output], **axis))
    write(
        path,
        nodes,
        {"x": ["batch", 3], "h": [2, "batch", 3]},
        {"y": ["batch", 3], "hn": [2, "batch", 3]},
        weights | numbers,
    )


@dataclass(frozen=True)
class Judge:
    """Judges the rows ``sequence.NAME`` of a model on the CPU, in one session with its report in ``report``."""

    session: Session
    report: Path

    def __call__(self, model: str, *names: str) -> dict[str, CheckResult]:
        """Return the results by name."""
        rows = {
            name: Row(id=f"sequence.{name}", model=model, precision="fp32", required=True) for name in names or ROWS
        }
        return {name: self.session.judge(row).result for name, row in rows.items()}


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judge]:
    """Return a session of several models with a state."""
    root = tmp_path_factory.mktemp("sequences")
    recurrent.write_cell(root / "m.onnx")
    recurrent.write_cell(root / "leaking.onnx", fed="mean", after=[MEAN])
    along = helper.make_node("Constant", [], ["along"], value_ints=[1])
    recurrent.write_cell(root / "onward.onnx", fed="onward", after=[along, ONWARD])
    recurrent.write_cell(root / "unused.onnx", scale=0.0)
    write_scalars(root / "scalars.onnx")
    write_stacked(root / "stacked.onnx")
    for name, options in FAULTS.items():
        recurrent.write_cell(root / f"{name}.onnx", **options)
    for name, arrays in DATA.items():
        np.savez(root / f"{name}.npz", **arrays)  # type: ignore[arg-type]  # no array is named allow_pickle
    tables = (TOML.format(name=name, path=p, data=d, extra=extra) for name, (p, d, extra) in MODELS.items())
    whole = "".join(
        table.replace("axis = 1", 'axis = "none"') if "[models.scalars]" in table else table for table in tables
    )
    (root / "hil.toml").write_text(whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        request = Request(load(root / "hil.toml"), "cpu", "cpu", 0.0, "one", root / "report", lambda _: None)
        with closing(Session.open(request)) as session:
            yield Judge(session, root / "report")


@pytest.mark.parametrize("model", ["sound", "batched"])
def test_a_sound_model_passes(judge: Judge, model: str) -> None:
    """A sound model passes, alone and with several sequences in a batch."""
    results = judge(model)
    assert {name: one.verdict for name, one in results.items()} == dict.fromkeys(ROWS, Verdict.PASSED), results
    assert results["free_running"].measurement is not None
    assert results["free_running"].measurement.n == len(X)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_deployed_file_fails(judge: Judge, fault: str) -> None:
    """A deployed file that scales, loses or clips the state fails, whether fed the reference's state or its own."""
    results = judge(fault, "teacher_forced", "free_running")
    for one in results.values():
        assert one.verdict is Verdict.FAILED, one.reason
        assert "step" in one.reason
    assert f"as if the state 'h' {CAUSES[fault]}" in results["free_running"].reason


@pytest.mark.parametrize(
    ("model", "verdict", "answers"),
    [
        ("classes", Verdict.PASSED, "passed"),
        ("few_classes", Verdict.INCONCLUSIVE, "inconclusive"),
        ("lost_classes", Verdict.FAILED, "failed"),
    ],
)
def test_answers_are_judged_over_sequences(judge: Judge, model: str, verdict: Verdict, answers: str) -> None:
    """The answers of all steps count, and their interval is over sequences: 360 steps of six do not pass."""
    result = judge(model, "free_running")["free_running"]
    assert result.verdict is verdict, result.reason
    (seen,) = result.details["answers"]
    sequences = result.details["sequences"]
    assert (seen["verdict"], seen["distinct"]) == (answers, sequences)
    assert seen["counted"] == sequences * result.details["lengths"][0]


def test_a_fault_in_a_step_is_found_at_its_step_and_node(judge: Judge) -> None:
    """The reason names node and step of a fault in a step, and the bundle replays the sequence."""
    results = judge("scaled", "teacher_forced", "free_running")
    for one in results.values():
        diagnosis = one.details["diagnosis"]
        assert diagnosis["culprits"][0]["seen"]["node"]["op"] == "Mul", diagnosis
        place = f"step {diagnosis['step']['step']} of sequence {diagnosis['step']['sequence']}"
        assert "the error starts at node" in one.reason
        assert f"(in {place}, with the reference's state before it)" in one.reason
    bundle = judge.report / results["free_running"].details["repro"]
    done = subprocess.run([sys.executable, "-I", bundle / "repro.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"a sequence of {diagnosis['step']['step'] + 1} steps, each side with its own state" in done.stdout


def test_int8_that_clips_the_state_late_in_a_sequence_is_named_with_the_step(judge: Judge) -> None:
    """A range that is too small for the state at the end of long sequences fails, with the step."""
    row = Row(id="int8.ranges", model="short", precision="int8", required=True)
    result = judge.session.judge(row).result
    assert result.verdict is Verdict.FAILED
    found = re.search(r"the state 'hn?' clips from step (\d+) of sequence \d on", result.reason)
    assert found is not None, result.reason
    assert RISES <= int(found[1]) < RISES + 10


def test_int8_that_clips_a_layer_of_a_stacked_state_is_named_with_state_and_step(judge: Judge) -> None:
    """A range that clips one layer's part of a state fails, and the reason names the state and the step."""
    result = judge.session.judge(Row(id="int8.ranges", model="stacked", precision="int8", required=True)).result
    assert result.verdict is Verdict.FAILED
    assert re.search(r"the state 'h' in '(lower|upper)' clips from step \d+ of sequence \d on", result.reason)


def test_few_calibration_samples_reach_the_late_steps_of_all_sequences(judge: Judge) -> None:
    """24 calibration steps of six sequences cover the late steps, in which the state is large."""
    for check, limit in (
        ("ranges", Limit(value=0.05, unit="1", sense=Sense.AT_MOST, source="test")),
        ("calibration", None),
    ):
        row = Row(id=f"int8.{check}", model="few", precision="int8", required=True, limit=limit)
        result = judge.session.judge(row).result
        assert result.verdict is Verdict.PASSED, result.reason


@pytest.mark.parametrize(("model", "verdict"), [("scored", Verdict.PASSED), ("badly_scored", Verdict.FAILED)])
def test_the_task_is_scored_over_whole_sequences(judge: Judge, model: str, verdict: Verdict) -> None:
    """The task is scored with the engine's own state, and with one score per sequence."""
    result = judge.session.judge(Row(id="parity.task", model=model, precision="fp32", required=True)).result
    assert result.verdict is verdict, result.reason
    assert result.measurement is not None
    assert result.measurement.n == len(X)


def test_drawn_sequences_find_what_data_may_not_show(judge: Judge) -> None:
    """With drawn sequences, a sound model passes both properties; one that mixes them fails ``property.stable``."""
    for check in ("property.parity", "property.stable"):
        result = judge.session.judge(Row(id=check, model="batched", precision="fp32", required=True)).result
        assert result.verdict is Verdict.PASSED, result.reason
    for model in ("leaking", "onward"):
        result = judge.session.judge(Row(id="property.stable", model=model, precision="fp32", required=True)).result
        assert result.verdict is Verdict.FAILED
        assert "in step" in result.reason
    with np.load(judge.report / result.details["inputs"]) as saved:
        assert saved["x"].shape[1:] == (DRAWN_STEPS, 3)


@pytest.mark.parametrize("model", ["leaking", "onward"])
def test_sequences_that_leak_into_each_other_fail(judge: Judge, model: str) -> None:
    """A model that mixes the sequences of a batch, or only those before, agrees with itself and fails isolation."""
    results = judge(model, "free_running", "isolation")
    assert results["free_running"].verdict is Verdict.PASSED
    assert results["isolation"].verdict is Verdict.FAILED
    assert "influence each other" in results["isolation"].reason


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("zeros", "change from step to step in 0 of 6 sequences"),
        ("two", "3 are needed"),
        ("unused", "loses the state 'h'"),
    ],
)
def test_what_shows_nothing_does_not_pass(judge: Judge, model: str, words: str) -> None:
    """Sequences of zeros, only two sequences, and an unused state do not pass."""
    result = judge(model, "free_running")["free_running"]
    assert result.verdict is Verdict.INCONCLUSIVE
    assert words in result.reason


def test_runs_for_comparisons_time_steps_that_carry_the_state(judge: Judge) -> None:
    """A run for a comparison has enough samples, and the engine in its process carries the state."""
    series = replicates.measure_run(judge.session, "sound", "fp32", "run-1")
    assert series.n >= replicates.MIN_SAMPLES
    with judge.session.engines.fresh("sound", "fp32") as worker:
        assert worker.carry == recurrent.CARRY


def test_scalars_are_fed_as_any_other_input(judge: Judge) -> None:
    """Constants and states may be scalars."""
    results = judge("scalars")
    assert {name: one.verdict for name, one in results.items()} == dict.fromkeys(ROWS, Verdict.PASSED), results


def test_ragged_sequences_begin_with_their_state(judge: Judge) -> None:
    """Padding is cut by the lengths, and each sequence begins with its own state."""
    result = judge("ragged", "free_running")["free_running"]
    assert result.verdict is Verdict.PASSED, result.reason


def project(root: Path, **arrays: np.ndarray[Any, Any]) -> Path:
    """Write a project with a recurrent model and its data; return the config's path."""
    recurrent.write_cell(root / "m.onnx")
    np.savez(root / "data.npz", **arrays)  # type: ignore[arg-type]  # no array is named allow_pickle
    (root / "hil.toml").write_text(TOML.format(name="m", path="m", data="data", extra=""))
    return root / "hil.toml"


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": recurrent.inputs(6, 1)}, "a sequence of 1 steps"),
        ({"x": recurrent.inputs(6, 60)[:, 0]}, "a sample is a sequence [steps, 3]"),
        ({"x": recurrent.inputs(6, 60), "lengths": np.full(6, 61)}, "no length may exceed"),
        ({"x": recurrent.inputs(6, 60), "lengths": np.full(6, 1)}, "a sequence of 1 steps"),
        ({"x": recurrent.inputs(6, 60), "lengths": np.full(5, 60)}, "different lengths"),
        ({"x": recurrent.inputs(6, 60), "lengths": np.full(6, 60.0)}, "vector of integers"),
        ({"x": recurrent.inputs(6, 60), "h": np.zeros((6, 60, 1, 4), np.float32)}, "'h'"),
    ],
)
def test_data_without_sequences_is_refused(tmp_path: Path, arrays: dict[str, np.ndarray[Any, Any]], words: str) -> None:
    """Single steps, and lengths that do not fit, are user errors before anything runs."""
    with pytest.raises(UserError) as error:
        preflight(load(project(tmp_path, **arrays)), "cpu")
    assert words in str(error.value)


def test_a_state_that_grows_is_refused_by_name(tmp_path: Path) -> None:
    """A state whose shape grows, such as a key-value cache, is refused by name before any build."""
    config = project(tmp_path, x=recurrent.inputs(6, 60))
    recurrent.write_cell(tmp_path / "m.onnx", grown="cache", fed="last", after=[recurrent.LAST])
    with pytest.raises(UserError, match=r"the state 'h' grows: it is \[1, 1, 4\] before a step.*not supported"):
        preflight(load(config), "cpu")
