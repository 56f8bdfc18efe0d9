"""One case through hil: signature, data, agent and parity.

Its verdict is compared with ONNX's own rule and ONNX Runtime alone.
"""

from __future__ import annotations

import json
import re
import shutil
import traceback
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from onnx.backend.test.runner import Runner

from hil.checks.comparison import Comparison
from hil.config.load import load
from hil.config.spec import TolerancesSpec
from hil.datasets import open_dataset
from hil.dtypes import for_file, is_float, limits
from hil.errors import HilError
from hil.onnx_files.declared import declare
from hil.onnx_files.host_run import run_on_host
from hil.onnx_files.random_operators import refuse_random
from hil.onnx_files.reference import cpu_session, open_reference
from hil.onnx_files.signature import read_signature
from hil.results import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from benchmarks.onnx_backend.cases import Case
    from hil.targets.client import AgentClient

    Row = dict[str, Any]
    Arrays = Mapping[str, Any]

NAME = "case"
DEADLINE = 60.0
BFLOAT16 = 2.0**-6
"""The relative tolerance of ONNX's own rule for bfloat16: two units in the last place."""

NOTHING = "has no finite element to compare"
"""Words of parity's reason when it fails an output that is empty or has no finite element."""

GROUPS = (
    (r"is of type (sequence|optional|map|sparse tensor), but only tensors", "an input or output is of type {}"),
    (r"has elements of type (\w+), but only numbers", "an input or output has elements of type {}"),
    (r"has no (?:inputs|outputs)", "the model has no inputs"),
    (r"draws? random numbers", "the model draws random numbers"),
    (r"is not a registered function/op|ONNX Runtime has no operator", "ONNX Runtime has no such operator"),
    (
        r"Could not find an implementation for|find kernel for",
        "ONNX Runtime has no kernel for the operator with these types",
    ),
    (r"No Op registered for|cannot run operator", "ONNX Runtime has no such operator"),
    (r"under development|is till opset", "ONNX Runtime does not know the opset yet"),
    (r"INVALID_GRAPH|Type Error|ShapeInferenceError|INVALID_ARGUMENT", "ONNX Runtime refuses the graph"),
    (r"Exception during initialization", "ONNX Runtime's operator lacks an attribute's value"),
    (r"refused the run", "ONNX Runtime refuses the inputs"),
    (NOTHING, "the expected output is empty or has no finite element"),
    (r"cannot load the model", "ONNX Runtime cannot load the model"),
)
"""Pairs of a pattern in a refusal's message and the reason under which the refusal is counted."""

BY_DESIGN = (
    "an input or output",
    "the model has no inputs",
    "the expected output is empty",
    "the model draws random numbers",
)
"""The refusals that do not depend on ONNX Runtime: hil feeds and compares tensors of numbers."""


def judged(agent: AgentClient, case: Case, folder: Path) -> Row:
    """Return the case's row: ``outcome``, ``reason``, ``wrong`` and ``missed`` (the damage was not found)."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    row: Row = {"case": case.name, "kind": case.kind, "reason": "", "note": "", "wrong": "", "missed": False}
    try:
        verdict, reason, outputs = _run(agent, case, folder)
    except HilError as error:
        message = str(error).replace(f"{folder}/", "")
        row |= {"outcome": "refused", "reason": _group(message), "message": message[:300]}
        if not row["reason"].startswith(BY_DESIGN) and _runs_alone(case):
            row["wrong"] = "refused, but ONNX Runtime alone gives the expected outputs"
        return row
    except Exception:  # noqa: BLE001 - the benchmark counts them
        return row | {"outcome": "traceback", "message": traceback.format_exc()[-1500:]}
    agrees = _agrees(case, outputs)
    row |= {"outcome": verdict.value, "message": "" if verdict is Verdict.PASSED else reason[:300]}
    if verdict is Verdict.FAILED and NOTHING in reason:
        row |= {"outcome": "refused", "reason": _group(reason)}
    elif verdict is Verdict.PASSED and not agrees:
        row["note"] = "within the tolerance of the largest magnitude, but not of each element"
        row["wrong"] = "" if _within(case, outputs) else "passed, but the outputs differ"
    elif verdict is not Verdict.PASSED and agrees:
        row["wrong"] = f"{verdict.value}, but by ONNX's rule the outputs agree"
    row["missed"] = _judge(_damaged(case), [(n, np.asarray(a)) for n, a in outputs]).verdict is Verdict.PASSED
    return row


def _run(agent: AgentClient, case: Case, folder: Path) -> tuple[Verdict, str, list[tuple[str, Any]]]:
    """Return parity's verdict and reason, and the outputs of the engine."""
    path = folder / "model.onnx"
    path.write_bytes(case.model.SerializeToString())
    in_file = read_signature(path)
    _save(folder / "data.npz", case.feeds)
    _save(folder / "expected.npz", case.expected)
    (folder / "hil.toml").write_text(_config(case), encoding="utf-8")
    config = load(folder / "hil.toml")
    spec = config.model(NAME, "cpu")
    signature = declare(in_file, spec, NAME)
    data = open_dataset(
        spec.data, config=config, model=NAME, signature=signature, preprocess=None, ranges={}, where="hil.toml"
    )
    reference = open_reference(path, data, 1, folder, folder / "expected.npz", per_call=not signature.batched)
    if in_file.random:
        host, names = cpu_session(path), [one.name for one in signature.outputs]
        refuse_random(
            in_file.random, names, (partial(run_on_host, host, names, batch.feeds) for batch in data.batches(1))
        )
    digest, external = agent.put_model(path)
    key = agent.adopt(digest, "fp32", "onnxruntime", {}, external=external).key
    comparison, outputs = Comparison("fp32", spec.tolerances.get("fp32"), samples=1), []
    worker = agent.load(key, {"threads": 1}, DEADLINE, fresh=False)
    try:
        with closing(worker.run_many((batch.feeds for batch in data.batches(1)), DEADLINE)) as runs:
            for answer, obtained in zip(reference.batches(1), runs, strict=True):
                comparison.update(answer, obtained, samples=1)
                outputs = obtained
    finally:
        worker.close(keep=True)
    judgement = comparison.judge()
    return judgement.verdict, judgement.reason, outputs


def _config(case: Case) -> str:
    lines = ["[targets.cpu]", 'kind = "local"', f"[models.{NAME}]", 'path = "model.onnx"', 'data = "data.npz"']
    lines += ['reference = "expected.npz"']
    for name in case.feeds:
        lines += [f"[models.{NAME}.inputs.{json.dumps(name)}]", 'batch_axis = "none"']
    for name, array in case.expected.items():
        if isinstance(array, np.ndarray) and is_float(array.dtype):
            rtol, cosine = (BFLOAT16, 0.999) if array.dtype.name == "bfloat16" else (case.rtol, 0.99999)
            lines += [f"[models.{NAME}.tolerances.fp32.outputs.{json.dumps(name)}]"]
            # ONNX's rule is about single elements: a case has too few for the scale of a slice.
            lines += [f"max_rel = {max(rtol, case.rtol)}", f"cosine = {cosine}", "slice_error = 0.5"]
    return "\n".join(lines) + "\n"


def _save(path: Path, arrays: Arrays) -> None:
    rows = {name: for_file(np.array(np.asarray(a)[np.newaxis], order="C")) for name, a in arrays.items()}
    np.savez(path, **rows)  # type: ignore[arg-type]  # no array is named allow_pickle


def _judge(expected: Arrays, outputs: list[tuple[str, Any]]) -> Any:
    comparison = Comparison("fp32", TolerancesSpec(max_rel=1e-4), samples=1)
    comparison.update(list(expected.items()), outputs, samples=1)
    return comparison.judge()


def _damaged(case: Case) -> Arrays:
    """Return the expected outputs with one element changed; if all outputs are empty, one is made longer."""
    random = np.random.default_rng(len(case.name))
    names = list(case.expected)
    name = next((one for one in names if np.asarray(case.expected[one]).size), names[0])
    array = np.array(case.expected[name])
    if not array.size:
        return {**case.expected, name: np.zeros((array.shape[0] + 1, *array.shape[1:]), array.dtype)}
    place, flat = int(random.integers(array.size)), array.reshape(-1)
    flat[place] = _other(flat, place)
    return {**case.expected, name: flat.reshape(array.shape)}


def _other(flat: Any, place: int) -> Any:
    """Return another value for one element.

    A float moves by 1 % of the largest magnitude, or further if rounding hides that; an integer by 1; a bool flips.
    """
    if flat.dtype == np.bool_:
        return not flat[place]
    values = flat.astype(np.float64)
    least, greatest = limits(flat.dtype)
    if not is_float(flat.dtype):
        return flat.dtype.type(int(flat[place]) + (1 if values[place] < greatest else -1))
    finite = values[np.isfinite(values)]
    step = 0.01 * max(float(np.abs(finite).max(initial=0.0)), float(np.finfo(np.float32).tiny) * 1e6)
    start = values[place] if np.isfinite(values[place]) else 0.0
    while True:
        for moved in (start - step, start + step):
            with np.errstate(over="ignore"):
                other = np.float64(moved).astype(flat.dtype)
            if least <= moved <= greatest and other.astype(np.float64) != values[place] and np.isfinite(moved):
                return other
        step *= 2


def _within(case: Case, outputs: list[tuple[str, Any]]) -> bool:
    """Return whether each output is within the declared tolerance of its largest magnitude, by numpy alone."""
    for expected, (_, obtained) in zip(case.outputs, outputs, strict=True):
        ours, theirs = (np.asarray(one).astype(np.float64) for one in (expected, obtained))
        rtol = BFLOAT16 if obtained.dtype.name == "bfloat16" else case.rtol if is_float(obtained.dtype) else 0.0
        finite = np.isfinite(ours)
        if not np.array_equal(ours[~finite], theirs[~finite], equal_nan=True):
            return False
        apart, scale = np.abs(ours[finite] - theirs[finite]), np.abs(ours[finite])
        if apart.max(initial=0.0) > rtol * scale.max(initial=0.0):
            return False
    return True


def _agrees(case: Case, outputs: list[tuple[str, Any]]) -> bool:
    """Return whether ONNX's own rule accepts the outputs."""
    try:
        Runner.assert_similar_outputs(list(case.outputs), [array for _, array in outputs], case.rtol, case.atol)
    except AssertionError:
        return False
    return True


def _runs_alone(case: Case) -> bool:
    """Return whether ONNX Runtime alone, without hil's agent, loads the model and gives the expected outputs."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            case.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        names = [one.name for one in session.get_outputs()]
        outputs = run_on_host(session, names, {name: np.asarray(array) for name, array in case.feeds.items()})
        return _agrees(case, list(zip(names, outputs, strict=True)))
    except Exception:  # noqa: BLE001 - it cannot
        return False


def _group(message: str) -> str:
    for pattern, label in GROUPS:
        match = re.search(pattern, message)
        if match:
            return label.format(*match.groups())
    return "other: " + re.sub(r"'[^']*'|/\S+|\d+", "…", message)[:100]
