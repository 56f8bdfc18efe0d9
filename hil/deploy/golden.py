"""Golden samples: some validation data with the reference outputs, which the engine must reproduce on the robot."""

from __future__ import annotations

import io
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from hil.compare_files import Declared, comparison_of
from hil.dtypes import for_file
from hil.errors import DeployRefused, UserError
from hil.onnx_files.external_data import addressed
from hil.onnx_files.identity import ENGINE, changes, sources_of
from hil.onnx_files.reference import open_reference
from hil.results import Verdict
from hil.runtimes import runtime_record
from hil.session.engines.int64 import narrows, with_model_dtypes
from hil.session.engines.load_options import load_options
from hil.session.split_sequences import split_sequences
from hil.session.validation_data import open_validation
from hil.session.watched_files import Sources

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hil.checks.comparison import Comparison
    from hil.config.load import Config
    from hil.config.spec import Precision, TolerancesSpec
    from hil.datasets import Batch
    from hil.onnx_files.signature import Signature
    from hil.report.schema import EngineUsed, ModelUsed
    from hil.targets.client import AgentClient
    from hil.targets.engine_worker import EngineWorker

    Arrays = dict[str, np.ndarray[Any, Any]]
    Named = list[tuple[str, np.ndarray[Any, Any]]]

LOAD_DEADLINE = 300.0
STEPS = 200
"""Most steps of a golden sequence."""

DLA_PRECISIONS = frozenset({"fp16", "int8"})


@dataclass(frozen=True)
class Golden:
    """Batches of inputs with the outputs of the reference; ``count`` samples in all.

    ``source`` names the reference.

    For a model with a state, a batch has the steps of sequences, ``[steps, …]``, and their first states; ``count`` then
    counts steps.
    """

    model: str
    signature: Signature
    batches: tuple[tuple[Arrays, Named], ...]
    count: int
    source: str

    def content(self) -> bytes:
        """Return an ``.npz`` with ``N/inputs/NAME`` and ``N/outputs/NAME`` of batch N; equal data gives equal bytes."""
        arrays: Arrays = {}
        for number, (inputs, outputs) in enumerate(self.batches):
            arrays |= {f"{number}/inputs/{name}": for_file(array) for name, array in inputs.items()}
            arrays |= {f"{number}/outputs/{name}": for_file(array) for name, array in outputs}
        file = io.BytesIO()
        np.savez(file, **cast("dict[str, Any]", arrays))
        return file.getvalue()


def golden(config: Config, target: str, used: ModelUsed, count: int) -> Golden:
    """Return ``count`` validation samples or more, in whole batches, with the reference's outputs.

    If the data has fewer samples, all are used. ``used`` is the model as the report records it. Raises ``UserError`` if
    the data, the model or one of its parts is not what was judged.
    """
    spec = config.model(used.name, target)
    path = config.resolve(spec.path)
    files, sources = sources_of(config, used.name, target), Sources()
    for file in files.paths():
        sources.watch(file)
    # A foreign engine is taken from the report, whatever engine the robot's table names.
    before, now = ([part for part in parts if part.role != ENGINE] for parts in (used.parts, files.parts()))
    differ = changes(before, now) if before else ["the report does not list its parts"]
    if differ:
        what = f"model {used.name} is not the one that was judged ({'; '.join(differ)})"
        raise UserError(f"{what}: on target {target!r}: run the checks again")
    signature, data = open_validation(config, target, used.name)
    if data.digest != used.data_digest:
        raise UserError(f"{spec.data} is not the data of the report: model {used.name}: run the checks again")
    limit = min(data.count, spec.batch * -(-count // spec.batch))
    saved = None if spec.reference is None else config.resolve(spec.reference)
    cache = config.resolve(config.spec.project.cache)
    whole = addressed(path, cache / "external_data", signature.inputs)
    reference = open_reference(
        whole, data, spec.batch, cache / "reference", saved, limit, per_call=not signature.batched
    )
    inputs = data.batches(spec.batch, limit)
    pairs = tuple(
        _pair(batch, outputs) for batch, outputs in zip(inputs, reference.batches(spec.batch, limit), strict=True)
    )
    sources.check()
    steps = sum(len(outputs[0][1]) * _rows(signature, inputs) for inputs, outputs in pairs)
    return Golden(used.name, signature, pairs, steps if signature.carry else limit, reference.source)


def _pair(batch: Batch, outputs: Named) -> tuple[Arrays, Named]:
    """Return the inputs of a batch with its outputs; for sequences, only those of the first ``STEPS`` steps."""
    sequence = batch.sequence
    if sequence is None:
        return batch.feeds, outputs
    steps = {name: np.array(array[:STEPS]) for name, array in sequence.steps.items()}
    return {**steps, **sequence.begin}, [(name, array[:STEPS]) for name, array in outputs]


def check(  # noqa: PLR0913, PLR0917 - engine and robot, and the samples with their tolerances
    agent: AgentClient,
    config: Config,
    target: str,
    engine: EngineUsed,
    samples: Golden,
    tolerances: TolerancesSpec | None,
) -> str:
    """Run the engine on the robot over ``samples`` and judge its outputs by ``tolerances``; return the result as text.

    Raises ``DeployRefused`` if the judgement is not passed.
    """
    spec, machine = config.model(engine.model, target), config.target(target)
    options = _load_requirements(agent, config, target, engine)
    external = [one.digest for one in engine.external]
    adopted = agent.adopt(engine.digest, engine.precision, engine.runtime, options, external)
    precision = cast("Precision", engine.precision)
    declared = Declared(config, engine.model, target)
    comparison = comparison_of(declared, precision, tolerances, samples=samples.count, spot_check=True)
    with closing(agent.load(adopted.key, load_options(machine, spec), LOAD_DEADLINE)) as loaded:
        run_golden(_with_int64_inputs(loaded, engine, samples), comparison, samples)
    judgement = comparison.judge()
    if judgement.verdict is not Verdict.PASSED:
        raise DeployRefused(
            f"{engine.model} {engine.precision} does not reproduce the golden samples on the robot: on target "
            f"{target!r}: {judgement.verdict.value}: {judgement.reason}: the release was not activated: "
            f"judge the robot itself with pytest --target={target}"
        )
    what = "steps of golden sequences" if samples.signature.carry else "golden samples"
    return f"{samples.count} {what}: {judgement.reason}"


def run_golden(worker: EngineWorker, comparison: Comparison, samples: Golden) -> None:
    """Run the engine over the samples and pass its outputs to ``comparison``, with the reference's."""
    if samples.signature.carry:
        _run_sequences(worker, comparison, samples)
        return
    with closing(worker.run_many(inputs for inputs, _ in samples.batches)) as runs:
        for (inputs, outputs), answers in zip(samples.batches, runs, strict=True):
            comparison.update(outputs, answers, samples=len(next(iter(inputs.values()))))
            if comparison.fatal:
                return


def _rows(signature: Signature, inputs: Arrays) -> int:
    """Return the number of sequences in a batch; 1 if no input has a batch axis."""
    axes = ((one.name, one.batch_axis, one.carry is None) for one in signature.inputs if one.name in inputs)
    return next((inputs[name].shape[axis + steps] for name, axis, steps in axes if axis is not None), 1)


def _run_sequences(worker: EngineWorker, comparison: Comparison, samples: Golden) -> None:
    """Compare sequences in which the engine is fed with its own state, as the robot runs it."""
    carry = samples.signature.carry
    for inputs, outputs in samples.batches:
        begin = {name: inputs[name] for name in carry}
        steps = {name: array for name, array in inputs.items() if name not in carry}
        got = worker.sequence(steps, begin, carry)
        rows = _rows(samples.signature, inputs)
        sides = (split_sequences(samples.signature, samples.model, rows, one) for one in (outputs, got))
        for ours, theirs in zip(*sides, strict=True):
            comparison.update(ours, theirs, samples=len(ours[0][1]))


def _with_int64_inputs(worker: EngineWorker, engine: EngineUsed, samples: Golden) -> EngineWorker:
    if narrows(engine.runtime, engine.runtime_version):
        return with_model_dtypes(worker, samples.signature, samples.model)
    return worker


def _load_requirements(agent: AgentClient, config: Config, target: str, engine: EngineUsed) -> Mapping[str, Any]:
    """Upload the engine's plugins, and return the options for loading it; empty for a runtime that compiles nothing."""
    spec, machine = config.model(engine.model, target), config.target(target)
    if not runtime_record(engine.runtime).compiles:
        return {}
    options: dict[str, Any] = {"gpu": machine.gpu} if machine.gpu else {}
    if spec.build.plugins:
        options["plugins"] = [agent.put_blob(config.resolve(plugin)) for plugin in spec.build.plugins]
    if spec.build.dla is not None and engine.precision in DLA_PRECISIONS:
        options["dla"] = spec.build.dla
    return options
