"""Find the node at fault in a failed comparison, by building variants of the engine's graph on the target."""

from __future__ import annotations

import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hil.compare_files import Declared, comparison_of
from hil.errors import HilError, Unsupported
from hil.onnx_files.external_data import INLINE, save, size_of
from hil.onnx_files.signature import read_signature
from hil.results import Verdict
from hil.runtimes import runtime_record
from hil.session.engines.int64 import narrows, with_model_dtypes
from hil.session.engines.provision import build_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy as np
    import onnx

    from hil.checks.comparison import Comparison
    from hil.diagnose.diagnosis import Diagnosis, Step
    from hil.diagnose.repro import Replayed
    from hil.diagnose.suspect import Stands
    from hil.session.engine_context import EngineContext
    from hil.targets.engine_worker import EngineWorker

BUDGET = 120.0
"""Seconds after which a failed check starts no further variant for its diagnosis; ``hil diagnose`` has no limit."""

ROWS = 4
"""Smallest batch size of a diagnosis if any size is possible: the worst sample is examined with its neighbours."""

LOAD_DEADLINE = 300.0

Values = dict[str, "np.ndarray[Any, Any]"]


class DiagnosisTimeout(HilError):  # noqa: N818 - as the other errors here are named
    """The time for the diagnosis is over: its findings so far are dropped, and the row keeps its verdict."""


@dataclass(frozen=True)
class Chosen:
    """The inputs of a diagnosis and, for a model with a state, the examined step and the steps replayed before it."""

    feeds: Values
    step: Step | None = None
    replayed: Replayed | None = None


@dataclass(frozen=True)
class Examined:
    """A diagnosis, the two models that it compared, and the inputs that it fed to both."""

    diagnosis: Diagnosis
    reference: onnx.ModelProto
    suspect: onnx.ModelProto
    feeds: Values
    replayed: Replayed | None = None


class OnTarget:
    """A callable that builds a variant of a model's graph on the target and runs it once.

    The variant has the engine's build options; without Q/DQ nodes, an int8 variant is built in fp32. After ``budget``
    seconds a call raises ``DiagnosisTimeout`` (``None``: no limit). Errors of building and running are raised
    unchanged.
    """

    def __init__(self, session: EngineContext, model: str, precision: str, budget: float | None = None) -> None:
        self._session = session
        self._model = model
        self._precision = precision
        self._until = None if budget is None else time.monotonic() + budget
        self.built = 0

    def __call__(self, variant: onnx.ModelProto, feeds: Mapping[str, np.ndarray[Any, Any]]) -> Values:
        """Run ``variant`` on the target and return its outputs by name. Feeds for inputs that it lacks are ignored."""
        with self.opened(variant) as worker:
            wanted = {one.name for one in worker.inputs}
            return dict(worker.run({name: array for name, array in feeds.items() if name in wanted}))

    @contextmanager
    def opened(self, variant: onnx.ModelProto) -> Iterator[EngineWorker]:
        """Build and load ``variant``, yield its worker, and close the worker afterwards."""
        if self._until is not None and time.monotonic() > self._until:
            raise DiagnosisTimeout(
                f"the time for the diagnosis ended after {self.built} variants: run hil diagnose, which has no limit"
            )
        session, spec = self._session, self._session.model(self._model)
        with tempfile.TemporaryDirectory(prefix="hil-diagnose-") as folder:
            path = Path(folder) / f"{self._model}.onnx"
            save(variant, path)
            signature = read_signature(path)
            digest, external = session.agent.put_model(path)
        precision = self._precision
        if precision == "int8" and not signature.has_qdq:  # this part of the engine computes in float
            precision = "fp32"
        options = build_options(session, self._model, precision, spec)
        if all(isinstance(size, int) for one in signature.inputs for size in one.shape):
            options.pop("profiles", None)
        limit, runtime = spec.build.time_limit, session.spec.runtime
        engine = session.agent.build(digest, precision, runtime, options, limit, external=external)
        self.built += 1
        worker = session.agent.load(engine.key, session.load_options(self._model), LOAD_DEADLINE, fresh=False)
        try:
            if narrows(engine.runtime, engine.runtime_version):
                worker = with_model_dtypes(worker, signature, self._model)
            yield worker
        finally:
            worker.close()


def examine(
    session: EngineContext, model: str, precision: str, choose: Callable[[], Chosen], budget: float | None = None
) -> Examined:
    """Search for the first node at which the engine differs from the reference, and return the diagnosis.

    ``choose`` returns the inputs that are examined. Raise ``DiagnosisTimeout`` after ``budget`` seconds (``None``: no
    limit). Raise ``Unsupported`` if a file is too large, if the engine was built elsewhere, or if TensorRT's calibrator
    made its ranges. Raise ``EngineBuildError``, ``EngineError`` or ``WorkerLost`` if a variant cannot be built or run.
    """
    import onnx

    from hil.diagnose.bisect import diagnose

    made = session.engines.provisioned(model, precision)
    if made.foreign or made.streamed is not None:
        what, fix = "was built elsewhere", "remove 'engine' to have it built from the ONNX file"
        if not made.foreign:
            what, fix = "has its ranges from TensorRT's calibrator alone", 'set calibration.route = "explicit"'
        raise Unsupported(
            f"the {precision} engine of model {model} {what}, so no part of it can be built separately: "
            f"on target {session.used}: {fix}"
        )
    for file in (session.onnx(model), made.source):
        if size_of(file) > INLINE:
            raise Unsupported(
                f"{file.name} has {size_of(file) >> 20} MiB with its external data, over the {INLINE >> 20} MiB that "
                f"can be diagnosed: model {model} on target {session.used}: compare a smaller variant of the network"
            )
    text = f"{model} {precision}: looking for the node from which on the values differ"
    with session.progress.step(text, seconds=budget):
        reference = onnx.load(str(session.onnx(model)))
        suspect = onnx.load(str(made.source))
        chosen = choose()
        runner = OnTarget(session, model, precision, budget)
        stands = standing(session, model, precision, chosen.feeds)
        diagnosis = diagnose(reference, suspect, chosen.feeds, precision, runner, stands=stands)
        diagnosis = replace(diagnosis, step=chosen.step)
    return Examined(diagnosis, reference, suspect, chosen.feeds, chosen.replayed)


def standing(session: EngineContext, model: str, precision: Any, feeds: Values) -> Stands:
    """Return a function that judges outputs for the inputs ``feeds`` by the tolerances of the config.

    The function takes the expected and the obtained outputs, and returns false if the comparison fails.
    """
    spec, signature = session.model(model), session.signature(model)
    empty = partial(
        comparison_of,
        Declared(session.config, model, session.requested),
        precision,
        spec.tolerances.get(precision),
        samples=None,
        spot_check=True,
    )
    stacked = [one for one in signature.inputs if one.name in feeds and one.batch_axis is not None]
    rows = next((feeds[one.name].shape[one.batch_axis] for one in stacked), 1)
    states = {source: signature.input(name).batch_axis for name, source in signature.carry.items()}

    def samples_first(name: str, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        axis = states.get(name, signature.output_axis(name)) if states else None
        return array if axis is None or array.shape[axis : axis + 1] != (rows,) else array.swapaxes(axis, 0)

    def stands(expected: Values, obtained: Values) -> bool:
        comparison = empty()
        ours, theirs = ([(name, samples_first(name, side[name])) for name in expected] for side in (expected, obtained))
        comparison.update(ours, theirs, rows)
        return comparison.judge().verdict is not Verdict.FAILED

    return stands


def is_batch_free(session: EngineContext, model: str) -> bool:
    """Return whether model and runtime accept batches of any size."""
    return session.dataset(model).stride is None and not runtime_record(session.spec.runtime).has_profiles


def worst_batch(session: EngineContext, model: str, comparison: Comparison) -> Chosen:
    """Return the inputs of the batch that holds the sample with the largest error.

    If ``comparison`` stopped early, return the batch at which it stopped. If model and runtime accept any batch size,
    the batch has at least ``ROWS`` samples, except the last batch of the data, which may have fewer.
    """
    spec, data = session.model(model), session.dataset(model)
    size = max(spec.batch, ROWS) if is_batch_free(session, model) else spec.batch
    at = comparison.samples
    if not comparison.fatal:
        worst = [(-one.error, one.sample) for numbers in comparison.numbers.values() for one in numbers.worst]
        at = min(worst)[1] if worst else 0
    number = min(at, data.count - 1) // size
    batch = next(islice(data.batches(size), number, None))
    return Chosen(dict(batch.feeds))
