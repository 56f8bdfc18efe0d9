"""Estimate how long a run takes, from its plan and the speed of each model's reference. Nothing is measured here."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hil.runtimes import runtime_record
from hil.session.engines.load_options import streams
from hil.session.sampling.replicates import QUANTILES, fewest_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hil.config.load import Config
    from hil.config.spec import MeasureSpec, ModelSpec
    from hil.results import Row

START = 0.6
"""Seconds until a fresh process has loaded a small engine: 0.4 to 0.8 s with ONNX Runtime on two cores."""

DRAW = 0.02
"""Seconds that drawing a batch and comparing its outputs take, without the inferences."""

RUNS_OF_A_DRAWN_BATCH = {1: 3, 2: 4}
"""The inferences for one drawn batch, by the number of properties that are checked with it. They include the engine's
inference, the reference's, and the repetitions."""

CALIBRATIONS = 8
"""Cost of a calibration sample, in inferences: calibration and the int8 checks each read all activations."""

SEQUENCE_PASSES, SEQUENCE_RUNS = 3, 8
"""Passes over all sequences (teacher-forced, free-running, and without a carried state), and runs of one sequence."""

PAIRS = 4.0
"""Seconds for which ``int8.speedup`` times two engines alternately."""

MINUTE = 60


@dataclass(frozen=True)
class Speed:
    """How long the model's reference takes for one batch, in seconds, and the number of validation samples.

    For a model with a state, ``seconds`` is the time of one step of a batch, ``samples`` counts sequences, and
    ``steps`` is the length of the first batch's sequences.
    """

    seconds: float
    samples: int
    steps: int = 1


@dataclass(frozen=True)
class Estimate:
    """The estimated length of a run.

    Attributes:
        parts: seconds by kind of work.
        models: the number of models in the run.
        unknown: the models whose speed is unknown.
        excluded: the kinds of work that are not included.
    """

    parts: Mapping[str, float]
    models: int
    unknown: tuple[str, ...]
    excluded: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """The sum of all parts."""
        return sum(self.parts.values())

    def __str__(self) -> str:
        """Return the estimate as one line, with what it consists of and what it leaves out."""
        parts = sorted(self.parts.items(), key=lambda part: -part[1])
        listed = ", ".join(f"{name} {_length(seconds)}" for name, seconds in parts if round(seconds))
        text = f"estimated length: {_length(self.seconds)} ({listed or 'nothing to measure'})"
        if self.models > len(self.unknown):
            text += "; estimated from the plan and from the speed of the references on this machine"
        else:
            text += "; estimated from the plan alone"
        if self.unknown:
            text += f"; without the inferences of {', '.join(self.unknown)}, whose reference could not be run"
        return f"{text}; without {', '.join(self.excluded)}" if self.excluded else text


def estimate(  # noqa: PLR0913 - the run's plan and settings, and what is known of its models
    config: Config, target: str, rows: Iterable[Row], speeds: Mapping[str, Speed], runs: int, *, over: float = 0.0
) -> Estimate:
    """Return the estimated length of a run that judges ``rows`` on ``target``.

    ``speeds`` has the known speeds of the models' references; the target is assumed to be as fast. ``runs`` is the
    number of fresh processes that time each engine, spread over ``over`` seconds.
    """
    checks: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        if row.model:
            checks.setdefault((row.model, row.precision), set()).add(row.id)
    parts: dict[str, float] = defaultdict(float)
    for (name, precision), ids in checks.items():
        model, speed = config.model(name, target), speeds.get(name)
        for part, seconds in _of_engine(config.spec.measure, model, precision, ids, speed, runs).items():
            parts[part] += seconds
    models = {name for name, _ in checks}
    if over > 0 and runs > 1:
        timed = {
            (name, streams(config.target(target), config.model(name, target)) if each == "fps.sustained" else 1)
            for (name, _), ids in checks.items()
            for each in ids & {*QUANTILES, "fps.sustained"}
        }
        parts["waiting between runs"] += over * len(timed)
    for name in models & speeds.keys():
        if any(check.startswith("parity.") for (model, _), ids in checks.items() if model == name for check in ids):
            parts["comparing"] += _pass(config.model(name, target), speeds[name])
    spec = config.target(target)
    excluded = ["building engines"] if runtime_record(spec.runtime).compiles else []
    excluded += ["cooling"] if spec.start_below is not None else []
    return Estimate(dict(parts), len(models), tuple(sorted(models - speeds.keys())), tuple(excluded))


def _of_engine(  # noqa: PLR0913, PLR0917 - private: what is known of one engine
    spec: MeasureSpec, model: ModelSpec, precision: str, ids: set[str], speed: Speed | None, runs: int
) -> dict[str, float]:
    """Return seconds by kind of work for one engine."""
    families = Counter(check.split(".", maxsplit=1)[0] for check in ids)
    one = 0.0 if speed is None else speed.seconds
    parts: dict[str, float] = defaultdict(float, loading=START)
    timed = spec.warmup + max(spec.duration, fewest_of(0.99) * one)
    if families["latency"] or families["fps"] or families["energy"]:
        parts["timing"] += timed * (2 if families["fps"] and model.run.streams > 1 else 1)
    if (families["latency"] or families["fps"]) and runs > 1:
        parts["timing"] += runs * (START + spec.warmup + spec.run_duration)
    if ids & {"latency.cold_load", "latency.first_inference"}:
        parts["loading"] += max(3, runs) * (START + one)
    if families["paced"]:
        parts["timing"] += timed + spec.warmup
    if families["sustained"]:
        parts["timing"] += spec.warmup + spec.sustained
    if families["memory"]:
        parts["memory"] += runs * (START + soak_seconds(spec, one))
    if speed is not None and ids & {"parity.outputs", "parity.task"}:
        parts["comparing"] += _pass(model, speed)
    if speed is not None and families["sequence"]:
        parts["comparing"] += SEQUENCE_PASSES * _pass(model, speed) + SEQUENCE_RUNS * speed.steps * one
    parts["drawn inputs"] += drawing_seconds(spec, families["property"], one)
    if precision == "int8" and families["int8"] and model.calibration is not None:
        samples = model.calibration.samples or (0 if speed is None else speed.samples * speed.steps)
        parts["calibration"] += CALIBRATIONS * samples * one / model.batch
        parts["timing"] += PAIRS if "int8.speedup" in ids else 0.0
    return parts


def drawing_seconds(spec: MeasureSpec, properties: int, one: float) -> float:
    """Return how many seconds the drawn batches of some properties take if an inference takes ``one`` seconds."""
    if not properties:
        return 0.0
    draw, draws = DRAW + RUNS_OF_A_DRAWN_BATCH[properties] * one, spec.draws
    return min(draws.most * draw, max(math.inf if draws.seconds is None else draws.seconds, draws.fewest * draw))


def soak_seconds(spec: MeasureSpec, one: float) -> float:
    """Return how many seconds a soak takes if an inference takes ``one`` seconds."""
    length = spec.soak_length
    if length.seconds is None:
        return length.most * one
    return min(length.most * one, max(length.seconds, length.fewest * one))


def _pass(model: ModelSpec, speed: Speed) -> float:
    """Return the seconds of one pass over the validation data."""
    return speed.seconds * _batches(model, speed) * speed.steps


def _batches(model: ModelSpec, speed: Speed) -> int:
    used = speed.samples if model.samples is None else min(model.samples, speed.samples)
    return math.ceil(used / model.batch)


def _length(seconds: float) -> str:
    if seconds < 2 * MINUTE:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / MINUTE:.0f} min"
