"""Check models and data before any target is used, so that a user's mistake gives one message and exit code 4."""

from __future__ import annotations

import math
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from hil.catalogue import QUANTIZED
from hil.checks import memory
from hil.config.data_sources import is_callable
from hil.datasets import open_dataset
from hil.errors import Unsupported, UserError
from hil.metrics import open_metric
from hil.metrics.agreement import open_answers, refuse_misfits
from hil.onnx_files.declared_shapes import wrong_declaration
from hil.onnx_files.host_sequence import refuse_growing
from hil.onnx_files.identity import sources_of
from hil.onnx_files.operators import PAIRED
from hil.onnx_files.signature import read_signature
from hil.runtimes import runtime_record
from hil.session.engines.shape_profiles import profiles_of
from hil.session.steps import Progress
from hil.session.validation_data import Opened, open_validation, reference_outputs
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from hil.config.load import Config
    from hil.config.spec import ModelSpec
    from hil.datasets import Batch
    from hil.onnx_files.signature import Signature
    from hil.plan import Plan
    from hil.session.watched_files import Sources


def preflight(  # noqa: PLR0913, PLR0917 - what is checked, and who is informed meanwhile
    config: Config,
    target: str,
    only: str | None = None,
    precisions: Collection[str] = ("int8",),
    watched: Sources | None = None,
    progress: Progress | None = None,
) -> Opened:
    """Open every model and its data, or only those of the model ``only``, and return them.

    Raise ``UserError`` for the first model, data or code of the user that cannot be used. Calibration data is opened
    only if int8 is among ``precisions``. Each model's files are added to ``watched`` before they are read.
    """
    opened = Opened()
    runtime, progress = config.target(target).runtime, progress or Progress(lambda _: None)
    for name in config.spec.models if only is None else (only,):
        spec = config.model(name, target)
        for path in sources_of(config, name, target).paths():
            if watched is not None:
                watched.watch(path)
        with progress.step(f"{name}: reading {spec.data}", said=False), _naming_the_declaration(config, spec.path):
            signature, dataset = open_validation(config, target, name)
            batch = next(dataset.batches(spec.batch, spec.samples), None)  # does the batch fit model and data?
        opened.signatures[name], opened.datasets[name, "data"] = signature, dataset
        if spec.reference is None:
            check_unquantized(signature, spec.path, name)
        _check_deployed(config, name, spec)
        _check_states(config, target, name, signature, batch)
        _check_answers(config, target, name, signature, batch)
        if batch is not None and spec.reference is None:
            _check_scorer(config, target, name, signature, batch)
        if runtime_record(runtime).compiles:
            _buildable(config, name, spec, signature)
        sources: list[tuple[str, int | None, tuple[str, ...]]] = []
        if spec.calibration is not None and "int8" in precisions:
            # Of a model with a state, the number is that of steps, which are taken of all sequences.
            count = None if signature.carry else spec.calibration.samples
            sources.append((spec.calibration.data, count, ("calibration", "data")))
        if spec.training_data is not None:
            sources.append((spec.training_data, None, ("training_data",)))
        for source, samples, key in sources:
            with progress.step(f"{name}: reading {source}", said=False), _naming_the_declaration(config, spec.path):
                dataset = open_dataset(
                    source,
                    config=config,
                    model=name,
                    signature=signature,
                    preprocess=spec.preprocess,
                    ranges=spec.ranges,
                    where=config.where("models", name, *key),
                    samples=samples,
                )
                opened.datasets.update({(name, *key): dataset})
    return opened


@contextmanager
def _naming_the_declaration(config: Config, path: str) -> Iterator[None]:
    """Add to a ``UserError`` of the ``with`` block the shape that the model's file declares wrongly, if any."""
    try:
        yield
    except UserError as error:
        wrong = wrong_declaration(config.resolve(path))
        if wrong is None:
            raise
        raise UserError(*str(error).split("\n"), wrong) from None


def _check_states(config: Config, target: str, name: str, signature: Signature, batch: Batch | None) -> None:
    """Raise ``UserError`` if a state has another shape after one step of the reference."""
    if batch is None or batch.sequence is None:
        return
    outputs, sequence = reference_outputs(config, target, name, signature, batch), batch.sequence
    if outputs is None:
        return
    try:
        refuse_growing(sequence.begin, {key: outputs[source] for key, source in sequence.carry.items()}, sequence.carry)
    except UserError as error:
        raise UserError(f"{config.where('models', name, 'inputs')}: model {name}: {error}") from None


def _check_answers(config: Config, target: str, name: str, signature: Signature, batch: Batch | None) -> None:
    """Raise ``UserError`` for a declared output that the model lacks, or that does not fit its kind or its callable."""
    spec = config.model(name, target)
    refuse_misfits(spec, signature, name, partial(config.where, "models", name))
    answers = open_answers(spec, config.root, model=name, where=config.where("models", name, "outputs"))
    if not answers or batch is None or spec.reference is not None:
        return
    outputs = reference_outputs(config, target, name, signature, batch)
    if outputs is None:
        return
    try:
        for one in answers:
            one.add(outputs, outputs, len(next(iter(batch.inputs.values()))))
    except UserError as error:
        raise UserError(f"{config.where('models', name, 'outputs')}: model {name}: {error}") from None


def _check_scorer(config: Config, target: str, name: str, signature: Signature, batch: Batch) -> None:
    """Raise ``UserError`` if code of the user cannot score the reference's outputs for the first batch."""
    spec = config.model(name, target)
    own = spec.task is not None and is_callable(spec.task)
    if spec.task is None or not (own or (spec.detection is not None and spec.detection.decode)):
        return
    where = config.where("models", name, "task")
    try:
        metric = open_metric(spec.task, config.root, name=spec.metric, boxes_as=spec.detection, model=name, where=where)
    except Unsupported:
        return
    if metric.needs_labels and not batch.labels:
        return
    outputs = reference_outputs(config, target, name, signature, batch)
    if outputs is not None:
        labels = batch.labels
        if batch.sequence is not None:  # the outputs are those of the first step
            labels = {key: array[:, 0] if array.ndim > 1 else array for key, array in labels.items()}
        metric.score(outputs, labels)


def check_unquantized(signature: Signature, path: str, model: str) -> None:
    """Raise ``UserError`` if the model's file ``path`` is quantized: its outputs cannot be its own reference."""
    if signature.quantized:
        paired = any(map(PAIRED.fullmatch, signature.quantized))
        # A file without Q/DQ nodes would be refused as deployed.
        files = "and this file as deployed" if paired else "and a file with Q/DQ nodes, or none, as deployed"
        raise UserError(
            f"{path} is quantized already ({', '.join(signature.quantized)}), so it cannot be its own reference: "
            f"model {model}: write the float model as path {files}, or name saved outputs of the float model as "
            "reference"
        )


def _check_deployed(config: Config, name: str, spec: ModelSpec) -> None:
    """Raise ``UserError`` if ``deployed`` is quantized, but no engine of any target would be built from it."""
    model, deployed = config.spec.models[name], spec.deployed
    precisions = {*model.precisions, *(one for own in model.on.values() for one in own.precisions or ())}
    if spec.engine is not None or not isinstance(deployed, str) or not precisions.isdisjoint(QUANTIZED):
        return
    quantized = read_signature(config.resolve(deployed)).quantized
    if quantized:
        raise UserError(
            f"{config.where('models', name, 'deployed')}: {deployed} is quantized ({', '.join(quantized)}), and "
            f"precisions has only {', '.join(sorted(precisions))}, so it would never be judged: model {name}: add "
            "the precision that it is quantized to, or remove deployed"
        )


def check_soak(config: Config, plan: Plan) -> None:
    """Raise ``UserError`` if ``[measure] soak`` has too few inferences for a required ``memory.growth`` to pass.

    A soak that is given as a time is not checked.
    """
    soak, uses_gpu = config.spec.measure.soak, runtime_record(config.target(plan.target).runtime).uses_gpu
    if not isinstance(soak, int):
        return
    for row in plan.of("memory.growth"):
        fewest = row.limit and memory.fewest_to_pass(row.limit, has_device=uses_gpu)
        if row.required and row.limit and fewest and fewest > soak:
            unseen = show(memory.hidden(trimmed=True, has_device=uses_gpu), "B")
            raise UserError(
                f"{config.where('measure', 'soak')}: soak = {soak} cannot settle memory.growth: model {row.model} on "
                f"target {plan.target!r}: the readings{' of a GPU' if uses_gpu else ''} do not show a leak of less "
                f"than {unseen} in total, so a limit of {show(row.limit.value, row.limit.unit)} needs at least "
                f"{fewest} inferences: write soak = {math.ceil(memory.SETTLING * fewest)}, or omit it"
            )


def _buildable(config: Config, name: str, spec: ModelSpec, signature: Signature) -> None:
    """Raise ``UserError`` if TensorRT cannot use the declared shapes, engine file or plugins of this model."""
    if spec.engine is None or signature.sizes:
        profiles_of(signature, spec, name)
    if spec.engine is not None and len(spec.precisions) != 1:
        raise UserError(
            f"{config.where('models', name, 'engine')}: one engine has one precision, and {', '.join(spec.precisions)} "
            f"are requested of {spec.engine}: model {name}: write only the precision of that engine"
        )
    for path in (spec.engine, *spec.build.plugins):
        if path is not None and not config.resolve(path).is_file():
            raise UserError(f"{path} is not a file: model {name} on a TensorRT target: paths are relative to hil.toml")
