"""Check the engine's contract: its signature, the shapes that it must run, and the inputs that it must refuse."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

import numpy as np

from hil.checks import contract
from hil.checks.contract import RefusalTrial, ShapeTrial
from hil.checks.isaac_ros import NodeParameters
from hil.checks.isaac_ros import isaac_ros as judge_node
from hil.dtypes import is_finite
from hil.errors import EngineError, UserError
from hil.importers.isaac_ros import read as read_node
from hil.importers.isaac_ros import split
from hil.onnx_files.signature import Signature
from hil.runtimes import runtime_record
from hil.session.amendments.row_facts import Facts
from hil.session.engines.int64 import narrows
from hil.session.engines.shape_profiles import Profiles, profiles_of
from hil.session.gather.declaration import declaration_of
from hil.session.gather.gathered import Gathered
from hil.session.gather.shapes import Feeds, candidates
from hil.session.sampling.sampling import feeds_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.results import Row
    from hil.session.engine_context import EngineContext
    from hil.targets.engine_worker import EngineWorker

METHOD = {"version": 1, "tried": "on the loaded engine"}


def signature(session: EngineContext, row: Row) -> Gathered:
    """Judge ``contract.signature``: compare the loaded engine's inputs and outputs with the model's."""
    with session.engines.lease(row.model, row.precision) as worker:
        engine = Signature(inputs=worker.inputs, outputs=worker.outputs)
    built = session.engines.provisioned(row.model, row.precision).engine
    excused = narrows(built.runtime, built.runtime_version)
    model = session.signature(row.model)
    judgement = contract.signature(model, engine, narrows=excused, built_for=_profiles(session, model, row))
    return Gathered(judgement, METHOD, Facts(diagnosis=declaration_of(session, row, judgement)))


def _profiles(session: EngineContext, model: Signature, row: Row) -> Profiles:
    """Return the optimization profiles of the engine; empty if the runtime has none, or sizes are not declared."""
    if not runtime_record(session.spec.runtime).compiles:
        return {}
    try:
        return profiles_of(model, session.model(row.model), row.model)
    except UserError:  # an engine that was built elsewhere needs no declared sizes
        return {}


def isaac_ros(session: EngineContext, row: Row) -> Gathered:
    """Judge ``contract.isaac_ros``: compare the ROS 2 parameter file of the robot's node with the loaded engine."""
    spec, parameters = session.model(row.model), None
    if spec.isaac_ros is not None:
        file, name = split(spec.isaac_ros)
        path = session.config.resolve(file)
        session.sources.watch(path)
        node = read_node(path, name)
        values = {field.name: getattr(node, field.name) for field in fields(NodeParameters) if field.name != "source"}
        parameters = NodeParameters(source=f"{path.name} {node.name}", **values)
    with session.engines.lease(row.model, row.precision) as worker:
        engine = Signature(inputs=worker.inputs, outputs=worker.outputs)
    return Gathered(judge_node(parameters, engine, spec.batch), METHOD)


def shapes(session: EngineContext, row: Row) -> Gathered:
    """Judge ``contract.shapes`` by shapes that must run and shapes that must be refused."""
    model = session.signature(row.model)
    feeds = feeds_of(session, row.model, model.batch() or 1)[0]
    with session.engines.lease(row.model, row.precision) as worker:
        trials = [
            _trial(worker, model, tried, allowed=allowed) for tried, allowed in candidates(session, row, model, feeds)
        ]
    dynamic = any(not isinstance(size, int) for spec in model.inputs for size in spec.shape)
    foreign = session.engines.provisioned(row.model, row.precision).foreign
    judgement = contract.shapes(trials, bounded=dynamic and foreign)
    return Gathered(judgement, METHOD, Facts(diagnosis=declaration_of(session, row, judgement)))


def _trial(worker: EngineWorker, model: Signature, feeds: Feeds, *, allowed: bool) -> ShapeTrial:
    inputs = {name: list(array.shape) for name, array in feeds.items()}
    try:
        outputs = worker.run(feeds)
    except EngineError as error:
        return ShapeTrial(inputs=inputs, ok=False, allowed=allowed, error=str(error))
    sizes = {
        size: array.shape[axis]
        for spec in model.inputs
        for array in [feeds[spec.name]]
        for axis, size in enumerate(spec.shape)
        if isinstance(size, str)
    }
    expected = {
        spec.name: [sizes.get(size) if isinstance(size, str) else size for size in spec.shape] if spec.ranked else None
        for spec in model.outputs
    }
    obtained = {name: list(array.shape) for name, array in outputs}
    odd = next((name for name, array in outputs if not is_finite(array).all()), None)
    ran = ShapeTrial(inputs=inputs, ok=True, expected=expected, outputs=obtained, allowed=allowed)
    return replace(ran, finite=odd is None, not_finite=odd or "")


def bad_input(session: EngineContext, row: Row) -> Gathered:
    """Judge ``contract.bad_input``: send each kind of invalid input to the engine, and after each a valid one."""
    model = session.signature(row.model)
    good = feeds_of(session, row.model, session.model(row.model).batch)[0]
    impossible = {}
    if not any(isinstance(size, int) for spec in model.inputs for size in spec.shape):
        impossible["shape"] = "all dimensions are dynamic"
    with session.engines.lease(row.model, row.precision) as worker:
        trials = [_refusal(worker, kind, bad, good) for kind, bad in _bad(model, good)]
    return Gathered(contract.bad_input(trials, impossible), METHOD)


def _bad(model: Signature, good: Feeds) -> Iterator[tuple[str, Feeds]]:
    spec = next((one for one in model.inputs if one.shape), model.inputs[0])
    array = good[spec.name]
    yield "missing", {name: value for name, value in good.items() if name != spec.name}
    yield "unknown", {**good, f"{spec.name}_that_is_not_there": array}
    yield "dtype", {**good, spec.name: array.astype("float64" if array.dtype != np.float64 else "float32")}
    yield "rank", {**good, spec.name: array[np.newaxis]}
    for one in model.inputs:
        for axis, size in enumerate(one.shape):
            if isinstance(size, int):
                shape = list(good[one.name].shape)
                shape[axis] = max(1, 2 * size)  # a zero-length axis is no longer if it is doubled
                yield "shape", {**good, one.name: np.resize(good[one.name], shape)}
                return


def _refusal(worker: EngineWorker, kind: str, bad: Feeds, good: Feeds) -> RefusalTrial:
    try:
        worker.run(bad)
    except EngineError as error:
        refused, message = True, str(error)
    else:
        refused, message = False, ""
    after = _error(worker, good)
    return RefusalTrial(kind=kind, refused=refused, message=message, alive=not after, after=after)


def _error(worker: EngineWorker, good: Feeds) -> str:
    """Run a valid input, and return its error as text; empty if it ran and returned outputs."""
    try:
        return "" if worker.run(good) else "it gave no output"
    except EngineError as error:
        return str(error) or type(error).__name__
