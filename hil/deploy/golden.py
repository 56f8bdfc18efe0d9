"""Golden samples: a few of the validation data with what the original model answers, to be answered on the robot."""

from __future__ import annotations

import io
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from hil.checks.comparison import Comparison
from hil.datasets import open_dataset
from hil.errors import DeployRefused, UserError
from hil.onnx_files.external_data import addressed
from hil.onnx_files.identity import ENGINE, changes, sources_of
from hil.onnx_files.reference import open_reference
from hil.onnx_files.signature import read_signature
from hil.results import Verdict
from hil.runtimes import runtime_record
from hil.session.engines.int64 import fitted, narrows
from hil.session.engines.load_options import load_options
from hil.session.watched_files import Sources

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hil.config.load import Config
    from hil.config.spec import Precision, TolerancesSpec
    from hil.onnx_files.signature import Signature
    from hil.report.schema import EngineUsed, ModelUsed
    from hil.targets.client import AgentClient
    from hil.targets.engine_worker import EngineWorker

    Arrays = dict[str, np.ndarray[Any, Any]]

LOAD_DEADLINE = 300.0
DLA_PRECISIONS = frozenset({"fp16", "int8"})


@dataclass(frozen=True)
class Golden:
    """``batches`` of inputs and what the reference answers to them, ``count`` samples in all."""

    model: str
    signature: Signature
    batches: tuple[tuple[Arrays, list[tuple[str, np.ndarray[Any, Any]]]], ...]
    count: int
    source: str

    def content(self) -> bytes:
        """An ``.npz`` file: ``N/inputs/NAME`` and ``N/outputs/NAME`` of batch N; the same data give the same bytes."""
        arrays: Arrays = {}
        for number, (inputs, outputs) in enumerate(self.batches):
            arrays |= {f"{number}/inputs/{name}": array for name, array in inputs.items()}
            arrays |= {f"{number}/outputs/{name}": array for name, array in outputs}
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **cast("dict[str, Any]", arrays))
        return file.getvalue()


def golden(config: Config, target: str, used: ModelUsed, wanted: int) -> Golden:
    """About ``wanted`` samples of the model's validation data, whole batches, with the reference's outputs.

    Raises ``UserError`` where the model in ``hil.toml``, with all that it consists of on ``target``, is not the one
    that was judged, or changes meanwhile.
    """
    spec = config.model(used.name, target)
    path = config.resolve(spec.path)
    files, sources = sources_of(config, used.name, target), Sources()
    for one in files.paths():
        sources.watch(one)
    # An engine built elsewhere is shipped as the report has it, whatever the robot's own table names.
    before, now = ([part for part in parts if part.role != ENGINE] for parts in (used.parts, files.parts()))
    differ = changes(before, now) if before else ["the report does not tell what it consists of"]
    if differ:
        what = f"model {used.name} is not the one that was judged ({'; '.join(differ)})"
        raise UserError(f"{what}: on target {target!r}: run the checks again")
    signature = read_signature(path)
    where = config.where("models", used.name, "data")
    data = open_dataset(
        spec.data,
        config=config,
        model=used.name,
        signature=signature,
        preprocess=spec.preprocess,
        ranges=spec.ranges,
        where=where,
        samples=spec.samples,
    )
    if data.digest != used.data_digest:
        raise UserError(f"{spec.data} is not the data that was judged on: model {used.name}: run the checks again")
    limit = min(data.count, spec.batch * -(-wanted // spec.batch))
    saved = None if spec.reference is None else config.resolve(spec.reference)
    cache = config.resolve(config.spec.project.cache)
    whole = addressed(path, cache / "external_data")
    reference = open_reference(whole, data, spec.batch, cache / "reference", saved, limit)
    inputs = data.batches(spec.batch, limit)
    pairs = tuple(
        (batch.inputs, outputs) for batch, outputs in zip(inputs, reference.batches(spec.batch, limit), strict=True)
    )
    sources.check()
    return Golden(used.name, signature, pairs, limit, reference.source)


def check(  # noqa: PLR0913, PLR0917 - what runs where, and by what its answers are judged
    agent: AgentClient,
    config: Config,
    target: str,
    engine: EngineUsed,
    samples: Golden,
    tolerances: TolerancesSpec | None,
) -> str:
    """Runs the engine on the robot over ``samples`` and holds the answers to ``tolerances``; in words.

    Raises ``DeployRefused`` for anything but a pass.
    """
    spec, machine = config.model(engine.model, target), config.target(target)
    options = _adopted(agent, config, target, engine)
    external = [one.digest for one in engine.external]
    made = agent.adopt(engine.digest, engine.precision, engine.runtime, options, external)
    precision = cast("Precision", engine.precision)
    comparison = Comparison(precision, tolerances, samples=samples.count)
    with closing(agent.load(made.key, load_options(machine, spec), LOAD_DEADLINE)) as loaded:
        _run(_fitted(loaded, engine, samples), comparison, samples)
    judgement = comparison.judge()
    if judgement.verdict is not Verdict.PASSED:
        raise DeployRefused(
            f"{engine.model} {engine.precision} does not answer the golden samples there: on target {target!r}: "
            f"{judgement.verdict.value}: {judgement.reason}: the release was not switched to"
        )
    return f"{samples.count} golden samples: {judgement.reason}"


def _run(worker: EngineWorker, comparison: Comparison, samples: Golden) -> None:
    with closing(worker.run_many(inputs for inputs, _ in samples.batches)) as runs:
        for (inputs, outputs), answers in zip(samples.batches, runs, strict=True):
            comparison.update(outputs, answers, samples=len(next(iter(inputs.values()))))
            if comparison.fatal:
                return


def _fitted(worker: EngineWorker, engine: EngineUsed, samples: Golden) -> EngineWorker:
    if narrows(engine.runtime, engine.runtime_version):
        return fitted(worker, samples.signature, samples.model)
    return worker


def _adopted(agent: AgentClient, config: Config, target: str, engine: EngineUsed) -> Mapping[str, Any]:
    """What loading the engine needs besides its file."""
    spec, machine = config.model(engine.model, target), config.target(target)
    if not runtime_record(engine.runtime).compiles:
        return {}
    options: dict[str, Any] = {"gpu": machine.gpu} if machine.gpu else {}
    if spec.build.plugins:
        options["plugins"] = [agent.put_blob(config.resolve(plugin)) for plugin in spec.build.plugins]
    if spec.build.dla is not None and engine.precision in DLA_PRECISIONS:
        options["dla"] = spec.build.dla
    return options
