"""The session: a held target, and an answer to each row asked of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hil.catalogue import CATALOGUE
from hil.datasets import Dataset, open_dataset
from hil.errors import EngineBuildError, EngineError, LabError, Unsupported, WorkerLost
from hil.onnx_files.external_data import addressed, external_files
from hil.onnx_files.identity import sources_of
from hil.onnx_files.reference import Reference, open_reference
from hil.onnx_files.signature import Signature, read_signature
from hil.results import Cause, CheckResult, Evidence, Judgement, Measurement, Part, Row, TargetUse, Verdict
from hil.series import digest_of
from hil.session import records
from hil.session.amendments import evidence, expiry, foreign
from hil.session.engines import load_options as running
from hil.session.engines.engines import EngineHandle, Engines
from hil.session.gather import GATHER
from hil.session.gather.gathered import Gathered
from hil.session.memo import Memo
from hil.session.outcome import Outcome
from hil.session.sampling.series_files import Samples
from hil.session.target.holding import Held, hold
from hil.session.target.state_contract import Keeper

if TYPE_CHECKING:
    from pathlib import Path

    from hil.config.spec import ModelSpec
    from hil.session.request import Request
    from hil.targets.client import AgentClient


class Session:
    """A target held for one run.

    ``requested`` and ``used`` name targets, ``evidence`` is the best that its verdicts can stand on (``board`` is
    what confirmed a device), ``facts`` what the probe read, ``runs`` how often an engine is timed in a process of
    its own. Opened by ``Session.open``, ended by ``close``; usable
    without pytest.
    """

    def __init__(self, request: Request, held: Held) -> None:
        self.config = request.config
        self.progress = request.progress
        self.report_dir: Path = request.report_dir
        self.runs = request.config.spec.measure.runs if request.runs is None else request.runs
        self.baseline = request.baseline
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
        self.engines = Engines(self)
        self.facts: dict[str, Any] = held.facts
        self._agent = held.agent
        self.state = Keeper(self)

    @classmethod
    def open(cls, request: Request) -> Session:
        """Reaches the target, starts the agent there, holds it and brings it into the declared state.

        Raises ``LabError`` as ``holding.hold`` and ``state.Keeper.open`` do.
        """
        session = cls(request, hold(request))
        try:
            session.state.open()
        except BaseException as error:
            try:
                session.close()
            except LabError as left:
                if isinstance(error, LabError):
                    raise LabError(f"{error}; and {left}") from None
                request.progress(str(left))
            raise
        return session

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
        """``path``, or a copy of it in the cache; see ``hil.onnx_files.external_data.addressed``. All of its files are watched."""

        def work() -> Path:
            for one in (path, *(file.path for file in external_files(path))):
                self.sources.watch(one)
            return addressed(path, self.config.resolve(self.config.spec.project.cache) / "external_data")

        return self.memo.once(("addressed", str(path)), work)

    def parts(self, name: str) -> tuple[Part, ...]:
        """What the model consists of (``hil.onnx_files.identity``), as it was when this run first asked; watched from then on."""
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

    def engine(self, model: str, precision: str) -> EngineHandle:
        """The engine as a user's test sees it."""
        built = self.engines.provisioned(model, precision).engine
        with self.engines.lease(model, precision) as worker:
            return EngineHandle(model, precision, built.digest, worker.inputs, worker.outputs, self.engines)

    def load_options(self, model: str) -> dict[str, Any]:
        """How an engine of ``model`` is loaded on this target; what its runtime has no such thing for is told once."""
        spec = self.model(model)
        self.memo.once(("left out", model), lambda: running.tell(self.spec, spec, model, self.progress))
        return running.load_options(self.spec, spec)

    def judge(self, row: Row) -> Outcome:
        """Runs what ``row`` asks and judges it. What the runtime cannot do, or a dead worker, is a result too.

        Raises ``LabError`` if the target was lost and ``UserError`` for a mistake in the config or data.
        """
        try:
            gathered = self._gather(row)
        except Unsupported as error:
            cause = Cause.FALLBACK if self.is_fallback else Cause.UNSUPPORTED
            gathered = _without_number(Verdict.NOT_RUN, str(error), cause)
        except WorkerLost as error:
            gathered = _without_number(Verdict.NOT_RUN, str(error), Cause.CRASHED)
        except (EngineBuildError, EngineError) as error:
            gathered = _without_number(Verdict.FAILED, str(error), None)
        return self._outcome(row, gathered)

    def _gather(self, row: Row) -> Gathered:
        if self._agent is None:
            return _without_number(Verdict.NOT_RUN, f"skipped: {self.fallback_reason}", Cause.FALLBACK)
        if self.is_fallback and CATALOGUE[row.id].needs_target:
            reason = f"needs {self.requested}; {self.used} was used in its place: {self.fallback_reason}"
            return _without_number(Verdict.NOT_RUN, reason, Cause.FALLBACK)
        if row.model:
            self.parts(row.model)  # watched from before the first of them is used
        return expiry.held(self, row, foreign.doubted(self, row, GATHER[row.id]))

    def enter(self, row: Row, judgement: Judgement, *, by_engine: bool = False) -> Outcome:
        """A verdict that a user's own check reached, as a result of this session.

        ``by_engine`` says that the test had the engine of the row's model and precision run: without it, its
        work was the host's.
        """
        method = {"version": 1, "check": row.id, "timed": "by the user's test"}
        return self._outcome(row, Gathered(judgement, method), by_engine=by_engine)

    def _outcome(self, row: Row, gathered: Gathered, *, by_engine: bool | None = None) -> Outcome:
        self.sources.check()
        judgement = gathered.judgement
        methods, environments = {}, {}
        measurement: Measurement | None = judgement.measurement
        if measurement is not None:
            digest, environment = digest_of(gathered.method), records.environment(self, row)
            methods[digest] = dict(gathered.method)
            environments[digest_of(environment)] = environment
            update = {"method": digest, "environment": digest_of(environment)}
            measurement = measurement.model_copy(update=update)
        ran = judgement.verdict is not Verdict.NOT_RUN or measurement is not None
        engines = records.engines(self, row) if ran else []
        by_engine = not CATALOGUE[row.id].on_host if by_engine is None else by_engine
        where = evidence.of(self, row, by_engine=by_engine) if ran else evidence.NOWHERE
        result = CheckResult(
            id=row.id,
            model=row.model,
            precision=row.precision,
            scenario=row.scenario,
            required=row.required,
            verdict=judgement.verdict,
            reason=judgement.reason,
            cause=judgement.cause,
            evidence=where.evidence,
            target=TargetUse(requested=self.requested, used=self.used),
            executed_on=where.executed_on,
            measurement=measurement,
            limit=judgement.limit or row.limit,
            engine=engines[0]["digest"] if engines else None,
            details=judgement.details,
        )
        return Outcome(
            result=result,
            methods=methods,
            environments=environments,
            engines=engines,
            models=records.models(self, row) if ran else [],
            target=records.target(self),
        )

    def close(self) -> None:
        """Ends all workers and lets go of the target.

        Raises ``LabError`` where something of it stays changed; all the rest is done all the same.
        """
        self.engines.close()
        if self._agent is not None:
            try:
                self.state.close()
            finally:
                self._agent.close()


def _without_number(verdict: Verdict, reason: str, cause: Cause | None) -> Gathered:
    return Gathered(Judgement(verdict=verdict, reason=reason, cause=cause), {})
