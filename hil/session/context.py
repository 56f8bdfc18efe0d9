"""The part of a session that needs no engine: config, target, facts of the target, and the models' files and data."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from hil.datasets import Dataset, open_dataset
from hil.errors import EngineBuildError, Unsupported
from hil.onnx_files.declared import declared_signature
from hil.onnx_files.external_data import addressed, external_files
from hil.onnx_files.host_sequence import run_batch
from hil.onnx_files.identity import sources_of
from hil.onnx_files.ort_errors import check_operators
from hil.onnx_files.random_operators import refuse_random
from hil.onnx_files.reference import Reference, cpu_session, open_reference
from hil.plan import expand
from hil.session.engines import load_options
from hil.session.memo import Memo
from hil.session.sampling.series_files import Samples
from hil.session.steps import as_progress
from hil.session.unrolled import unrolled
from hil.session.validation_data import is_open, open_validation

if TYPE_CHECKING:
    from pathlib import Path

    from hil.config.spec import ModelSpec
    from hil.onnx_files.signature import Signature
    from hil.results import Evidence, Part
    from hil.session.request import Request
    from hil.session.target.holding import HeldTarget
    from hil.targets.client import AgentClient


class Context:
    """The held target of one run, and the models and data of the config, each opened once.

    Attributes:
        requested: the name of the target that the user requested.
        used: the name of the target that does the work.
        member: the name of the board that does the work, if the target is several boards; else empty.
        evidence: the strongest evidence that a result of this session can have.
        board: the confirmed board, or ``None``.
        facts: what the agent's probe read.
        runs: the number of fresh processes that time each engine.
        over: the seconds over which these processes are spread; 0 if they follow each other.
        plan: the rows of the run.
        explains: whether to search for the node at fault if a comparison fails.
    """

    def __init__(self, request: Request, held: HeldTarget) -> None:
        self.config = request.config
        self.progress = as_progress(request.progress)
        self.report_dir: Path = request.report_dir
        self.runs = request.config.spec.measure.runs if request.runs is None else request.runs
        self.over = request.over
        self.baseline = request.baseline
        compares = request.baseline is not None
        self.plan = request.plan or expand(request.config, request.target, baseline=compares)
        self.run_id = request.run_id
        self.explains = request.explains
        self.requested = request.target
        self.used = held.used
        self.member = held.member
        self.spec = held.spec
        self.evidence: Evidence = held.evidence
        self.board = held.board
        self.fallback_reason = held.fallback_reason
        self.memo = Memo()
        self.sources = request.sources
        self.samples = Samples(request.report_dir / "samples", request.run_id, request.attempt)
        self.facts: dict[str, Any] = held.facts
        self._agent = held.agent
        self._opened = request.opened

    @property
    def agent(self) -> AgentClient:
        """The agent on the target. Raises ``Unsupported`` if there is no agent (``has_target``)."""
        if self._agent is None:
            raise Unsupported(str(self.fallback_reason))
        return self._agent

    def lose(self, reason: str) -> None:
        """Give up the target because of ``reason``: requests in progress and later ones raise ``LabError``.

        May be called from another thread.
        """
        if self._agent is not None:
            self._agent.give_up(reason)

    @property
    def has_target(self) -> bool:
        """Whether there is an agent: false if the requested target is unavailable and ``fallback`` is ``skip``."""
        return self._agent is not None

    @property
    def is_fallback(self) -> bool:
        """Whether the requested target is unavailable, so that the CPU does the work or the rows are skipped."""
        return self.fallback_reason is not None

    def model(self, name: str) -> ModelSpec:
        """Return the model's spec with the overrides of the *requested* target, since a fallback changes no limit."""
        return self.config.model(name, self.requested)

    def signature(self, name: str) -> Signature:
        """Return the inputs and outputs of the model's ONNX file, completed by the config and, if needed, the data."""
        path = self.config.resolve(self.model(name).path)
        self.sources.watch(path)

        def work() -> Signature:
            declared = declared_signature(path, self.model(name), name, apart=True)
            return self._validation(name)[0] if is_open(declared) else declared

        return self.memo.once(("signature", name), work)

    def onnx(self, name: str) -> Path:
        """Return the ONNX file that this session reads: the model's own file, or its copy by ``addressed``."""
        return self.addressed(self.config.resolve(self.model(name).path), name)

    def addressed(self, path: Path, name: str) -> Path:
        """Return the file that ``external_data.addressed`` makes of the ONNX file ``path``; watch the model's files.

        The result is ``path`` itself if nothing has to change.
        """

        def work() -> Path:
            for file in (path, *(external.path for external in external_files(path))):
                self.sources.watch(file)
            cache = self.config.resolve(self.config.spec.project.cache)
            return addressed(path, cache / "external_data", self.signature(name).inputs)

        return self.memo.once(("addressed", str(path), name), work)

    def parts(self, name: str) -> tuple[Part, ...]:
        """Return the files that the model consists of; the first call reads them and starts to watch them."""
        return self.memo.once(("parts", name), lambda: self._parts(name))

    def _parts(self, name: str) -> tuple[Part, ...]:
        sources = sources_of(self.config, name, self.requested)
        with self.progress.step(f"{name}: hashing the files that the model consists of", said=False):
            for path in sources.paths():
                self.sources.watch(path)
            return sources.parts()

    def dataset(self, name: str) -> Dataset:
        """Return the model's validation data."""
        return self._validation(name)[1]

    def _validation(self, name: str) -> tuple[Signature, Dataset]:
        self.sources.watch(self.config.resolve(self.model(name).data))
        if name in self._opened.signatures:
            return self._opened.signatures[name], self._opened.datasets[name, "data"]
        return self.memo.once(("validation", name), lambda: open_validation(self.config, self.requested, name))

    def batches(self, name: str) -> int:
        """Return how many batches the used validation samples make; the last batch may be smaller."""
        spec, count = self.model(name), self.dataset(name).count
        used = count if spec.samples is None else min(spec.samples, count)
        return math.ceil(used / spec.batch)

    def calibration_data(self, name: str) -> Dataset:
        """Return the INT8 calibration data as independent samples.

        For a model with a state, these are single steps of its sequences (``unrolled``). Raise ``Unsupported`` if the
        config names no calibration data.
        """
        data, calibration = self.calibration_source(name), self.model(name).calibration
        return self._steps(name, data, None if calibration is None else calibration.samples)

    def calibration_source(self, name: str) -> Dataset:
        """Return the INT8 calibration data. Raises ``Unsupported`` if the config names no calibration data."""
        calibration, engine = self.model(name).calibration, self.model(name).engine
        if calibration is None and engine is not None:
            what = f"{engine} was built elsewhere, and its calibration data is not known: model {name}"
            raise Unsupported(f"{what}: name that data in [models.{name}.calibration]")
        if calibration is None:
            raise Unsupported(f"model {name} has no [models.{name}.calibration]: add it for int8")
        samples = None if self.signature(name).carry else calibration.samples
        return self._data(name, calibration.data, samples, "calibration", "data")

    def steps(self, name: str) -> tuple[Dataset, int | None]:
        """Return the validation data as independent samples, and how many of them are used (``None``: all).

        For a model with a state these are all single steps of its sequences (``unrolled``).
        """
        samples = None if self.signature(name).carry else self.model(name).samples
        return self._steps(name, self.dataset(name)), samples

    def _steps(self, name: str, data: Dataset, samples: int | None = None) -> Dataset:
        if not self.signature(name).carry:
            return data
        cache = self.config.resolve(self.config.spec.project.cache)

        def work() -> Dataset:
            return unrolled(self.onnx(name), self.signature(name), data, cache, name, samples=samples)

        with self.progress.step(f"{name}: running the reference over {data.name}", said=False):
            return self.memo.once(("steps", name, data.digest, str(samples)), work)

    def training_data(self, name: str) -> Dataset | None:
        """Return the data that the model was trained on, or ``None`` if the config does not name it."""
        source = self.model(name).training_data
        return None if source is None else self._data(name, source, None, "training_data")

    def _data(self, name: str, source: str, samples: int | None, *key: str) -> Dataset:
        spec = self.model(name)
        self.sources.watch(self.config.resolve(source))
        opened = self._opened.datasets.get((name, *key))
        if opened is not None:
            return opened
        return self.memo.once(
            ("data", name, *key),
            lambda: open_dataset(
                source,
                config=self.config,
                model=name,
                signature=self.signature(name),
                preprocess=spec.preprocess,
                ranges=spec.ranges,
                where=self.config.where("models", name, *key),
                samples=samples,
            ),
        )

    def reference(self, name: str) -> Reference:
        """Return the reference outputs: from the file that the config names or, without one, of the FP32 model.

        The first call runs that model on the host. Raise ``EngineBuildError`` if ONNX Runtime cannot run it,
        ``UserError`` if the named file cannot be read, and ``Unsupported`` as ``refuse_random`` does.
        """
        spec = self.model(name)
        saved = None if spec.reference is None else self.config.resolve(spec.reference)
        cache = self.config.resolve(self.config.spec.project.cache) / "reference"
        if saved is None:
            check_operators(self.onnx(name), self.signature(name).foreign)
        else:
            self.sources.watch(saved)
        self.refuse_random(name)

        def work() -> Reference:
            data, text = self.dataset(name), f"{name}: running the reference"
            with self.progress.step(text, total=self.batches(name), unit="batches", said=False) as step:
                return open_reference(
                    self.onnx(name),
                    data,
                    spec.batch,
                    cache,
                    saved,
                    spec.samples,
                    watched=step.counting,
                    per_call=not self.signature(name).batched,
                )

        return self.memo.once(("reference", name), work)

    def refuse_random(self, name: str) -> None:
        """Raise ``Unsupported`` if the model draws random numbers and returns different outputs for the same data.

        If the host cannot run a model that may draw random numbers, raise ``Unsupported`` if the config names saved
        reference outputs, else ``EngineBuildError``.
        """
        spec, nodes = self.model(name), self.signature(name).random

        def work() -> None:
            try:
                host = cpu_session(self.onnx(name))
            except EngineBuildError:
                if spec.reference is None:
                    raise
                what = f"{', '.join(nodes[:3])} may draw random numbers, and the host cannot run the model to check"
                raise Unsupported(f"{what}: model {name}: export the model without random values") from None
            data = self.dataset(name).batches(spec.batch, spec.samples)
            names = [output.name for output in host.get_outputs()]
            with self.progress.step(f"{name}: running the reference twice", said=False):
                refuse_random(nodes, names, (partial(run_batch, host, names, batch) for batch in data))

        if nodes:
            self.memo.once(("random", name), work)

    def load_options(self, model: str) -> dict[str, Any]:
        """Return the options for loading ``model``.

        The first call for a model also prints which of the config's keys have no effect on this target.
        """
        spec = self.model(model)
        self.memo.once(
            ("left out", model), lambda: load_options.report_ignored_keys(self.spec, spec, model, self.progress)
        )
        return load_options.load_options(self.spec, spec)
