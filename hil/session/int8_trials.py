"""Build and judge INT8 engines of one model with different nodes in floating point, for ``hil int8 tune``.

Each trial is a separate session with a changed config, so that it is judged like any run.
"""

from __future__ import annotations

import json
import math
import secrets
import tempfile
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from hil import __version__
from hil.checks.verdicts import plain
from hil.config.limits import PrecisionLimits, SpeedupLimit
from hil.errors import EngineBuildError, UserError
from hil.files.digests import writing
from hil.jetson import identity_fields
from hil.onnx_files.multiply_adds import Shapes, infer, multiply_adds
from hil.onnx_files.precisions import WEIGHTED
from hil.plan import expand
from hil.quantize.layout import OPTIONS_VERSION
from hil.quantize.prepare import prepared
from hil.quantize.ranges import ranges_of
from hil.quantize.tuning import Candidate, OutOfBuildsError, Search, Trial
from hil.results import Verdict
from hil.runtimes import runtime_record
from hil.series import digest_of
from hil.session.core import Session
from hil.session.engines.provision import calibrated
from hil.session.request import Request
from hil.session.target.board_match import runtime_facts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hil.config.fields import Precision
    from hil.config.load import Config
    from hil.config.spec import ModelSpec
    from hil.results import CheckResult
    from hil.session.steps import Progress

TOLERANCES = ("parity.outputs", "parity.task", "int8.drop", "sequence.teacher_forced", "sequence.free_running")
"""The checks that a trial must pass, as far as they are planned for the model in int8."""

SPEEDUP = "latency.speedup"

WORTH = 1.1
"""The least speed-up over floating point at which INT8 is recommended. A smaller one is within many targets' noise."""

ANY = 1e-9
"""A limit that every engine meets. A trial needs the measured speed-up only, and a missed limit would profile the
engine."""

VERSION = 2
"""The version of the stored trials: increase it with every change here that changes an outcome."""

_QDQ = ("QuantizeLinear", "DequantizeLinear")


class Trials:
    """The trials of ``model`` in int8 on ``target``.

    Attributes:
        over: the precision in floating point that the engines' speed is compared with: fp16 if the target's runtime has
            it, else fp32.
        limit: the most builds.
        built: the builds of this call; stored trials are not built again.
    """

    def __init__(self, config: Config, model: str, target: str, limit: int, progress: Progress) -> None:
        """Open a session to read the stored trials.

        Raises the errors of ``Session.open``, and ``UserError`` if hil does not calibrate the model itself, or if no
        check of ``TOLERANCES`` is planned for it in int8.
        """
        self._config, self._model, self._target, self._progress = config, model, target, progress
        self._spec = config.model(model, target)
        if self._spec.deployed_in("int8") is not None:
            raise UserError(
                f"model {model} has a quantized file as deployed, in which no node can be kept in floating point: on "
                f"target {target!r}: remove deployed for int8"
            )
        if self._spec.calibration is None or self._spec.calibration.route == "implicit":
            raise UserError(
                f"model {model} is not calibrated by pytest-hil on target {target!r}, so no node can be kept in "
                f'floating point: add [models.{model}.calibration] with route = "explicit"'
            )
        self._user = self._spec.calibration.exclude_nodes
        self.over: Precision = "fp16" if runtime_record(config.target(target).runtime).chooses_precision else "fp32"
        self.limit, self.built = limit, 0
        changed = self._changed(())
        if not any(row.id in TOLERANCES for row in _rows(changed, target, model)):
            raise UserError(
                f"no check that compares model {model} in int8 with its reference is planned on target {target!r}: "
                f"plan at least one of these, with a tolerance: {', '.join(TOLERANCES)}"
            )
        with closing(Session.open(self._request(changed))) as session:
            self._path, self._stored = self._read(session)

    def search(self, rank: Callable[[], dict[str, Any]]) -> Search:
        """Search for the nodes to keep in floating point, and return the finished search.

        ``rank`` returns the fields of ``hil.quantize.sensitivity.Sensitivity``; it is called only if full INT8 misses a
        tolerance. Raises the errors of a session, and those of ``rank``.
        """
        full = self.attempt(())
        if full.holds:
            search = Search((), (), self.attempt)
        else:
            if "ranking" not in self._stored:
                layers = rank()["layers"]
                self._keep("ranking", {layer["node"]: [layer["noise"], layer["weights"]] for layer in layers})
            costs = self._costs()
            layers = [Candidate((name,), noise, costs[name]) for name, (noise, _) in self._stored["ranking"].items()]
            groups = [Candidate(tuple(nodes)) for nodes in self._stored.get("groups", {}).values()]
            search = Search(layers, groups, self.attempt)
        search.run()
        return search

    def attempt(self, keep: tuple[str, ...]) -> Trial:
        """Return the stored or new outcome with the nodes ``keep`` in floating point.

        Raises ``OutOfBuildsError`` if no build is left.
        """
        stored = self._stored.setdefault("trials", {})
        key = json.dumps(keep)
        if key not in stored:
            if self.built >= self.limit:
                raise OutOfBuildsError
            self.built += 1
            count = f"{len(keep)} {'node' if len(keep) == 1 else 'nodes'} in floating point"
            self._progress(f"{self._model} int8: build {self.built} of at most {self.limit}, {count}")
            stored[key] = self._tried(keep)
            self._keep("trials", stored)
        return Trial(keep, **stored[key])

    def _tried(self, keep: tuple[str, ...]) -> dict[str, Any]:
        config = self._changed(keep)
        rows = _rows(config, self._target, self._model)
        with closing(Session.open(self._request(config))) as session:
            results = [session.judge(row).result for row in rows if row.id in TOLERANCES]
            timed = [session.judge(row).result for row in rows if row.id == SPEEDUP]
            try:
                made = calibrated(session, self._model)
            except EngineBuildError:  # nothing is left in INT8, or the quantizer failed: each row reports why
                inside: set[str] = set()
            else:
                inside = set(made.provenance.get("quantized", ()))
                if not keep:
                    self._keep("groups", _groups(made.path))
                    self._keep("costs", self._counted(session.onnx(self._model), session))
        missed = {one.id: one.reason for one in results if one.verdict not in {Verdict.PASSED, Verdict.WARNED}}
        costs = self._costs()
        return {
            "holds": bool(results) and not missed,
            "missed": missed,
            "failed": any(one.verdict is Verdict.FAILED for one in results),
            "losses": {one.id: value for one in results if (value := _value(one)) is not None},
            "speedup": next((_value(one) for one in timed), None),
            "share": sum(costs[name] for name in inside if name in costs) / (sum(costs.values()) or 1.0),
        }

    def _costs(self) -> dict[str, float]:
        """Return the multiply-adds of each layer of the model; 1 for each counted layer if any count is unknown.

        A ranked node that was not counted has 1 as well.
        """
        counted = self._stored.get("costs") or {}
        if any(count is None for count in counted.values()):
            return dict.fromkeys(counted, 1.0)
        known: dict[str, float] = dict(counted)
        return known | {name: 1.0 for name in self._stored.get("ranking", ()) if name not in known}

    def _counted(self, path: Path, session: Session) -> dict[str, int | None]:
        """Return the multiply-adds of each layer for the first batch, ``None`` where a shape is unknown."""
        batch = next(iter(session.steps(self._model)[0].batches(self._spec.batch)))
        with tempfile.TemporaryDirectory(prefix="hil-tune-") as folder:
            proto = prepared(path, Path(folder))
        shapes: Shapes = {one.name: tuple(one.dims) for one in proto.graph.initializer}
        layers = [node for node in proto.graph.node if node.op_type in WEIGHTED]
        sizes = {f"{name}[{at}]": size for name, array in batch.feeds.items() for at, size in enumerate(array.shape)}
        infer(proto, sizes, self._spec.batch, (), shapes)
        return {node.name: multiply_adds(node, shapes) for node in layers}

    def _changed(self, keep: tuple[str, ...]) -> Config:
        """Return the config for a trial: only this model, with ``keep`` in floating point and its speed-up measured."""
        spec = self._spec
        assert spec.calibration is not None  # noqa: S101 - checked at the start; for the type checker
        own = (spec.limits.int8 or PrecisionLimits()).model_copy(
            update={"speedup": SpeedupLimit(over=self.over, least=ANY)}
        )
        changed: ModelSpec = spec.model_copy(
            update={
                "calibration": spec.calibration.model_copy(update={"exclude_nodes": (*self._user, *keep)}),
                "limits": spec.limits.model_copy(update={"int8": own}),
                "precisions": tuple(dict.fromkeys((*spec.precisions, self.over))),
                "on": {},
            }
        )
        return replace(
            self._config, spec=self._config.spec.model_copy(update={"models": {self._model: changed}}), own_checks=()
        )

    def _request(self, config: Config) -> Request:
        cache = config.resolve(config.spec.project.cache)
        judged = {*TOLERANCES, SPEEDUP}
        plan = expand(config, self._target)
        plan = replace(plan, rows=tuple(row for row in plan.rows if row.id in judged), unlimited=())
        return Request(
            config,
            self._target,
            "fail",
            0.0,
            secrets.token_hex(16),
            cache,
            progress=self._progress,
            plan=plan,
            explains=False,
        )

    def _read(self, session: Session) -> tuple[Path, dict[str, Any]]:
        """Return the file of the stored trials, and its content; empty if the file is missing or unusable."""
        depends = {
            "version": [VERSION, __version__, OPTIONS_VERSION],
            "parts": [part.model_dump(mode="json") for part in session.parts(self._model)],
            "model": self._spec.model_dump(mode="json"),
            "target": session.spec.model_dump(mode="json"),
            "measure": self._config.spec.measure.model_dump(mode="json"),
            "runtime": runtime_facts(session.facts, session.spec.runtime, session.spec.gpu),
            "identity": identity_fields(session.facts.get("board")),
        }
        folder = self._config.resolve(self._config.spec.project.cache) / "tuning"
        path = folder / f"{digest_of(plain(depends))}.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            content = {}
        return path, content if isinstance(content, dict) else {}

    def _keep(self, key: str, value: Any) -> None:
        """Store ``value`` at once."""
        self._stored[key] = plain(value)
        with writing(self._path.parent):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial = self._path.with_suffix(".new")
            partial.write_text(json.dumps(self._stored, indent=1), encoding="utf-8")
            partial.replace(self._path)


def as_document(trials: Trials, search: Search) -> dict[str, Any]:
    """Return the outcome as JSON values: all trials, and the ``best`` (``None`` if no trial meets the tolerances)."""
    document: dict[str, Any] = plain(
        {
            "over": trials.over,
            "builds": trials.built,
            "trials": [asdict(trial) for trial in search.trials],
            "best": None if search.best is None else asdict(search.best),
        }
    )
    return document


def _rows(config: Config, target: str, model: str) -> list[Any]:
    return [row for row in expand(config, target).rows if (row.model, row.precision) == (model, "int8")]


def _value(result: CheckResult) -> float | None:
    value = None if result.measurement is None else result.measurement.value
    return value if value is not None and math.isfinite(value) else None


def _groups(path: Path) -> dict[str, list[str]]:
    """Return the INT8 nodes without weights, by operator."""
    proto = onnx.load(str(path), load_external_data=False)
    restored = {output for node in proto.graph.node if node.op_type == _QDQ[1] for output in node.output}
    layers = set(ranges_of(proto, path.parent).nodes)
    groups: dict[str, list[str]] = {}
    for node in _others(proto.graph.node):
        if node.name not in layers and any(name in restored for name in node.input):
            groups.setdefault(node.op_type, []).append(node.name)
    return groups


def _others(nodes: Iterable[onnx.NodeProto]) -> Iterable[onnx.NodeProto]:
    return (node for node in nodes if node.op_type not in {*_QDQ, *WEIGHTED})
