"""What a session knows before any engine is there: config, target, facts, and the models' files and data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hil.datasets import Dataset, open_dataset
from hil.errors import Unsupported
from hil.onnx_files.external_data import addressed, external_files
from hil.onnx_files.identity import sources_of
from hil.onnx_files.reference import Reference, open_reference
from hil.onnx_files.signature import Signature, read_signature
from hil.plan import expand
from hil.session.engines import load_options
from hil.session.memo import Memo
from hil.session.sampling.series_files import Samples

if TYPE_CHECKING:
    from pathlib import Path

    from hil.config.spec import ModelSpec
    from hil.results import Evidence, Part
    from hil.session.request import Request
    from hil.session.target.holding import Held
    from hil.targets.client import AgentClient


class Context:
    """The held target of one run, and what the config names, opened once.

    ``requested`` and ``used`` name targets, ``evidence`` is the best that its verdicts can stand on (``board`` is
    what confirmed a device), ``facts`` what the probe read, ``runs`` how often an engine is timed in a process of
    its own.
    """

    def __init__(self, request: Request, held: Held) -> None:
        self.config = request.config
        self.progress = request.progress
        self.report_dir: Path = request.report_dir
        self.runs = request.config.spec.measure.runs if request.runs is None else request.runs
        self.baseline = request.baseline
        compares = request.baseline is not None
        self.plan = request.plan or expand(request.config, request.target, baseline=compares)
        self.run_id = request.run_id
        self.requested = request.target
        self.used = held.used
        self.spec = held.spec
        self.evidence: Evidence = held.evidence
        self.board = held.board
        self.fallback_reason = held.fallback_reason
        self.memo = Memo()
        self.sources = request.sources
        self.samples = Samples(request.report_dir / "samples", request.run_id)
        self.facts: dict[str, Any] = held.facts
        self._agent = held.agent

    @property
    def agent(self) -> AgentClient:
        """The agent on the target. Raises ``Unsupported`` where the run skips for want of its target."""
        if self._agent is None:
            raise Unsupported(str(self.fallback_reason))
        return self._agent

    @property
    def has_target(self) -> bool:
        """Whether there is an agent; none where the run skips for want of its target."""
        return self._agent is not None

    @property
    def is_fallback(self) -> bool:
        """Whether another target than the one asked for does the work."""
        return self.fallback_reason is not None

    def model(self, name: str) -> ModelSpec:
        """The model's spec with what differs on the target *asked for*: a fallback changes no limit."""
        return self.config.model(name, self.requested)

    def signature(self, name: str) -> Signature:
        """What the ONNX file takes and gives."""
        path = self.config.resolve(self.model(name).path)
        self.sources.watch(path)
        return self.memo.once(("signature", name), lambda: read_signature(path))

    def onnx(self, name: str) -> Path:
        """The model's ONNX file as everything here reads it: one whose SHA-256 covers its external data."""
        return self.addressed(self.config.resolve(self.model(name).path))

    def addressed(self, path: Path) -> Path:
        """``path``, or a copy of it in the cache; see ``external_data.addressed``. All of its files are watched."""

        def work() -> Path:
            for one in (path, *(file.path for file in external_files(path))):
                self.sources.watch(one)
            return addressed(path, self.config.resolve(self.config.spec.project.cache) / "external_data")

        return self.memo.once(("addressed", str(path)), work)

    def parts(self, name: str) -> tuple[Part, ...]:
        """What the model consists of, as it was when this run first asked; watched from then on."""
        return self.memo.once(("parts", name), lambda: self._parts(name))

    def _parts(self, name: str) -> tuple[Part, ...]:
        found = sources_of(self.config, name, self.requested)
        for path in found.paths():
            self.sources.watch(path)
        return found.parts()

    def dataset(self, name: str) -> Dataset:
        """The model's validation data."""
        return self._data(name, self.model(name).data, self.model(name).samples, "data")

    def calibration_data(self, name: str) -> Dataset:
        """The data INT8 ranges are drawn from. Raises ``Unsupported`` where the config names none."""
        calibration, engine = self.model(name).calibration, self.model(name).engine
        if calibration is None and engine is not None:
            what = f"nothing says what {engine} was calibrated on, which was built elsewhere: model {name}"
            raise Unsupported(f"{what}: name that data in [models.{name}.calibration]")
        if calibration is None:
            raise Unsupported(f"model {name} has no [models.{name}.calibration]: add it for int8")
        return self._data(name, calibration.data, calibration.samples, "calibration", "data")

    def training_data(self, name: str) -> Dataset | None:
        """The data the model was trained on, where the config names it."""
        source = self.model(name).training_data
        return None if source is None else self._data(name, source, None, "training_data")

    def _data(self, name: str, source: str, samples: int | None, *key: str) -> Dataset:
        spec = self.model(name)
        self.sources.watch(self.config.resolve(source))
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
        """What the original model answers, or what the training framework saved."""
        spec = self.model(name)
        saved = None if spec.reference is None else self.config.resolve(spec.reference)
        cache = self.config.resolve(self.config.spec.project.cache) / "reference"
        if saved is not None:
            self.sources.watch(saved)
        return self.memo.once(
            ("reference", name),
            lambda: open_reference(self.onnx(name), self.dataset(name), spec.batch, cache, saved),
        )

    def load_options(self, model: str) -> dict[str, Any]:
        """How an engine of ``model`` is loaded on this target; what its runtime has no such thing for is told once."""
        spec = self.model(model)
        self.memo.once(("left out", model), lambda: load_options.tell(self.spec, spec, model, self.progress))
        return load_options.load_options(self.spec, spec)
