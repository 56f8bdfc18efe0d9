"""The shape of ``hil.toml``: one frozen pydantic model a table.

Quantities are written with their unit (``"5 ms"``) and held in base units (0.005). Paths are
written relative to the file that names them and are resolved while loading (``hil.config.load``).
"""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from hil.units import Dimension, parse

Precision = Literal["fp32", "tf32", "fp16", "bf16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "tf32", "fp16", "bf16", "int8")


def _reader(dimension: Dimension) -> BeforeValidator:
    return BeforeValidator(lambda value: parse(value, dimension))


def _schema(example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": ["string", "number"], "examples": [example]})


def _day(value: object) -> str:
    """A day as ISO 8601 has it, written as TOML's own date or as text."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    try:
        return date.fromisoformat(value if isinstance(value, str) else "").isoformat()
    except ValueError:
        raise ValueError(f"{str(value)!r} is no day: write e.g. 2026-12-31") from None


def _age(value: object) -> str:
    """An age that stays as it was written: the report's own copy of the policy reads like the policy."""
    if parse(value, Dimension.AGE) <= 0:
        raise ValueError(f"{value!r} is no age: write e.g. '7 days'")
    return str(value)


def _signer(value: object) -> str:
    """A public key as one line of base64, given so or as a PEM."""
    lines = value.split("\n") if isinstance(value, str) else []
    text = "".join("".join(line.split()) for line in lines if not line.strip().startswith("-----"))
    if P256.fullmatch(text) is None:
        raise ValueError("no public key of ECDSA P-256: give the PEM that openssl pkey -pubout prints")
    return text


P256 = re.compile(r"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE[A-Za-z0-9+/]{86}==")
"""A SubjectPublicKeyInfo (RFC 5480) of an uncompressed point on P-256, in base64: its head is always the same."""
Seconds = Annotated[float, _reader(Dimension.TIME), _schema("5 ms")]
Bytes = Annotated[float, _reader(Dimension.MEMORY), _schema("512 MiB")]
Fraction = Annotated[float, _reader(Dimension.FRACTION), _schema("1 %")]
Celsius = Annotated[float, _reader(Dimension.TEMPERATURE), _schema("65 °C")]
Energy = Annotated[float, _reader(Dimension.ENERGY), _schema("50 mJ")]
Rate = Annotated[float, _reader(Dimension.RATE), _schema("30 fps")]
Age = Annotated[float, _reader(Dimension.AGE), _schema("90 days")]
AgeText = Annotated[str, BeforeValidator(_age), WithJsonSchema({"type": "string", "examples": ["7 days"]})]
Signer = Annotated[str, BeforeValidator(_signer), WithJsonSchema({"type": "string", "pattern": P256.pattern})]
Declared = Literal["power_mode", "clocks", "gpu_clients", "start_below", "free_memory", "reserve_memory"]
Day = Annotated[str, BeforeValidator(_day), WithJsonSchema({"type": "string", "examples": ["2026-12-31"]})]
Positive = Annotated[int, Field(ge=1)]
# Bounded because translating a shell pattern takes time quadratic in its unclosed brackets.
Pattern = Annotated[str, Field(max_length=200)]


class Table(BaseModel):
    """A table of ``hil.toml``: an unknown key is an error, never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class StatedTable(Table):
    """What somebody decided: why, who, when, and until when it holds (that day included)."""

    reason: str | None = None
    by: str | None = None
    date: Day | None = None
    expires: Day | None = None

    @property
    def why(self) -> str | None:
        """``reason (by, date)``, as far as it is written."""
        who = ", ".join(filter(None, (self.by, self.date)))
        return " ".join(filter(None, (self.reason, f"({who})" if who else ""))) or None


class ProjectSpec(Table):
    """``[project]``: where things are written."""

    report: str = "report"
    history: str = "sqlite:///.hil/history.db"
    cache: str = ".hil/cache"


class ContainerSpec(Table):
    """``[targets.NAME.container]``: workers run in a container of ``image``, the agent on the board's own system.

    ``args`` go to ``run`` before the image, e.g. ``["--runtime", "nvidia"]``; ``python`` is the interpreter in it.
    """

    engine: Literal["docker", "podman"]
    image: str
    args: tuple[str, ...] = ()
    python: str = "python3"


Command = tuple[Annotated[str, Field(min_length=1, max_length=1000)], ...]
"""A program and its arguments, run without a shell."""


class DeployContainerSpec(Table):
    """``[targets.NAME.deploy.container]``: the robot runs an image that has the release in it, as container ``name``.

    ``args`` go to ``run`` before the image, ``command`` after it; ``base`` is the image that one is built on.
    """

    engine: Literal["docker", "podman"]
    name: str = "hil-release"
    base: str | None = None
    args: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


class DeploySpec(Table):
    """``[targets.NAME.deploy]``: what a robot runs, how it is stopped and started, and how it tells that it is well.

    Commands are lists of words, run on the robot without a shell. ``config`` are the robot's own files, put into each
    release as ``config/NAME``; ``engines`` are patterns over ``model`` or ``model precision``; ``keys`` are public
    keys (PEM), one of which must have signed the report.
    """

    directory: str
    service: str | None = None
    restart: Command = ()
    restart_within: Annotated[Seconds, Field(gt=0, le=3600)] = 60.0
    health: Annotated[Command, Field(min_length=1)]
    health_within: Annotated[Seconds, Field(gt=0, le=3600)] = 30.0
    safe_state: Command = ()
    safe_within: Annotated[Seconds, Field(gt=0, le=3600)] = 60.0
    config: tuple[str, ...] = ()
    engines: Annotated[tuple[Pattern, ...], Field(min_length=1, max_length=200)] = ("*",)
    golden: Annotated[int, Field(ge=1, le=10_000)] = 16
    max_age: Annotated[Age, Field(gt=0)] = 7 * 86400.0
    keep: Annotated[int, Field(ge=1, le=100)] = 3
    keys: tuple[str, ...] = ()
    container: DeployContainerSpec | None = None


class TargetSpec(Table):
    """``[targets.NAME]``: a machine under test, how it is reached, and the state it must be in.

    What names the state (``power_mode`` to ``co_runner``) is read before, during and after measuring.
    """

    kind: Literal["local", "ssh", "labgrid"] = "local"
    runtime: Literal["onnxruntime", "tensorrt"] = "onnxruntime"
    host: str | None = None
    user: str | None = None
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    identity: str | None = None
    known_hosts: str | None = None
    connect_timeout: Annotated[Seconds, Field(gt=0, le=600)] = 15.0
    silence: Annotated[Seconds, Field(ge=5, le=3600)] = 60.0
    board: str | None = None
    serial: str | None = None
    power_mode: str | None = None
    clocks: Literal["as-deployed", "locked"] = "as-deployed"
    python: str | None = None
    store: str | None = None
    store_size: Bytes = 4 * 2.0**30
    gpu: Annotated[int, Field(ge=0, le=63)] = 0
    cuda: Literal["auto", "pycuda", "ctypes"] = "auto"
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    start_below: Celsius | None = None
    cool_within: Seconds = 300.0
    gpu_clients: tuple[str, ...] = ()
    free_memory: Bytes | None = None
    stop_services: tuple[str, ...] = ()
    reserve_memory: Bytes | None = None
    co_runner: str | None = None
    container: ContainerSpec | None = None
    deploy: DeploySpec | None = None
    evidence: Literal["emulated"] | None = None


class LatencyLimits(Table):
    """``latency = { p50 = "2 ms", p99 = "5 ms" }``: upper limits of host-to-host time."""

    p50: Seconds | None = None
    p90: Seconds | None = None
    p99: Seconds | None = None


class PacedLimits(Table):
    """``paced = { p99 = "33 ms", missed = "0.1 %", streak = 2 }``: of inferences released at ``run.rate``."""

    p99: Seconds | None = None  # from release to completion
    missed: Fraction | None = None
    streak: Annotated[int, Field(ge=0)] | None = None
    jitter: Seconds | None = None


class SustainedLimits(Table):
    """``sustained = { p99 = "5 ms", fps = 28, slowdown = "5 %" }``: at the end of ``measure.sustained``."""

    p99: Seconds | None = None
    fps: Rate | None = None
    slowdown: Fraction | None = None


class RegressionLimits(Table):
    """``regression = { above = "1 %", exclude = "5 %" }``: what counts as worse than the baseline, relative.

    A significant worsening by more than ``above`` fails; a row passes once one by ``exclude`` can be excluded.
    """

    above: Annotated[Fraction, Field(lt=1)] | None = None
    exclude: Annotated[Fraction, Field(gt=0, lt=1)] | None = None


class LimitsSpec(StatedTable):
    """``[models.NAME.limits]``: what measurements are held against; what is absent is only measured."""

    latency: LatencyLimits = LatencyLimits()
    cold_load: Seconds | None = None
    first_inference: Seconds | None = None
    fps: Rate | None = None
    paced: PacedLimits = PacedLimits()
    sustained: SustainedLimits = SustainedLimits()
    energy: Energy | None = None  # joules an inference, of the whole board
    memory: Bytes | None = None
    model_memory: Bytes | None = None
    system_memory: Fraction | None = None
    engine_size: Bytes | None = None
    memory_growth: Bytes | None = None  # bytes per 1,000 inferences
    int8_speedup: Annotated[float, Field(gt=0)] | None = None  # fp32 p50 / int8 p50
    int8_clipping: Fraction | None = None  # most of a tensor's validation values beyond its INT8 range
    int8_layers: Fraction | None = None  # least share of the layers INT8 is for that run in it
    dla_fallback: Annotated[int, Field(ge=0)] | None = None  # most layers meant for the DLA that run on the GPU
    regression: RegressionLimits = RegressionLimits()


class ToleranceSpec(Table):
    """What an output may differ by from the reference; ``None`` takes the default of the precision.

    ``max_abs`` and ``rmse`` are in the output's own unit, ``max_rel`` is relative to the reference's
    largest magnitude, ``cosine`` is a least similarity, ``sqnr_db`` a least ratio in decibel,
    ``top1_agreement`` a least share of samples whose argmax agrees.
    """

    max_abs: Annotated[float, Field(ge=0)] | None = None
    max_rel: Annotated[float, Field(ge=0)] | None = None
    rmse: Annotated[float, Field(ge=0)] | None = None
    cosine: Annotated[float, Field(ge=-1, le=1)] | None = None
    sqnr_db: float | None = None
    top1_agreement: Fraction | None = None


class TolerancesSpec(ToleranceSpec, StatedTable):
    """``[models.NAME.tolerances.PRECISION]``: for all outputs, then ``outputs.NAME`` for one of them.

    ``top1_drop``, ``top5_drop``, ``map_drop``, ``miou_drop`` and ``retrieval_drop`` are the most that the task's score
    may lose, ``error_increase`` the most by which a regression's error may grow (relative), ``score_drop`` for a
    callable's mean score.
    """

    outputs: dict[str, ToleranceSpec] = {}
    top1_drop: Fraction | None = None
    top5_drop: Fraction | None = None
    map_drop: Fraction | None = None
    miou_drop: Fraction | None = None
    retrieval_drop: Fraction | None = None
    error_increase: Fraction | None = None
    score_drop: Annotated[float, Field(ge=0)] | None = None


class CalibrationSpec(Table):
    """``[models.NAME.calibration]``: what INT8 ranges are drawn from, and how."""

    data: str
    samples: Positive | None = None
    method: Literal["entropy", "minmax", "percentile"] = "entropy"
    route: Literal["explicit", "implicit"] = "explicit"
    percentile: Annotated[float, Field(gt=50, le=100)] = 99.99
    exclude_nodes: tuple[str, ...] = ()


class DetectionSpec(Table):
    """``[models.NAME.detection]``: how a detector's outputs are laid out, so that boxes can be scored.

    ``layout`` names where boxes, scores and classes stand (``hil.metrics.boxes``), ``boxes`` whether a box is two
    corners or centre and size; ``nms`` is the IoU over which of two boxes of a class the less sure one goes, absent
    where the graph does that itself; boxes under ``score`` are left out. ``decode`` is a callable that takes a batch's
    outputs and gives an array [boxes, 6] an image: x1 y1 x2 y2 score class.
    """

    layout: Literal["end-to-end", "efficient-nms", "channels-first", "objectness", "boxes-scores"] = "end-to-end"
    boxes: Literal["corners", "centers"] = "corners"
    nms: Annotated[float, Field(gt=0, le=1)] | None = None
    score: Annotated[float, Field(ge=0, lt=1)] = 0.001
    decode: str | None = None


class BuildSpec(Table):
    """``[models.NAME.build]``: how the runtime builds the engine; what is absent is the runtime's own default.

    ``plugins`` are shared libraries with TensorRT plugins, loaded before the model is parsed and before the
    engine is loaded; ``dla`` is the number of the DLA core, layers it cannot run fall back to the GPU.
    """

    workspace: Bytes | None = None
    optimization_level: Annotated[int, Field(ge=0, le=5)] | None = None
    plugins: tuple[str, ...] = ()
    dla: Annotated[int, Field(ge=0, le=7)] | None = None
    time_limit: Seconds = 1800.0


class RunSpec(Table):
    """``[models.NAME.run]``: how the robot runs the engine, and so how it is timed.

    With ``streams`` over 1 the frame rate is measured with that many inferences in flight. ``rate`` is that of the
    camera, which releases an inference each period; ``deadline`` is from release to completion (default: the period).
    """

    cuda_graph: bool = False
    streams: Annotated[int, Field(ge=1, le=32)] = 1
    rate: Annotated[Rate, Field(ge=0.01, le=100_000)] | None = None
    deadline: Annotated[Seconds, Field(gt=0)] | None = None


class OverrideSpec(Table):
    """``[models.NAME.on.TARGET]``: what differs on one target; given keys win, the rest stays."""

    build: BuildSpec | None = None
    run: RunSpec | None = None
    engine: str | None = None
    precisions: tuple[Precision, ...] | None = None
    limits: LimitsSpec | None = None
    tolerances: dict[Precision, TolerancesSpec] | None = None


class ModelSpec(Table):
    """``[models.NAME]``: an ONNX file with its data, limits and tolerances.

    ``data``, ``calibration.data`` and ``training_data`` are an ``.npz`` file, a folder of images
    (needs ``preprocess``) or ``package.module:callable``; ``synthetic`` alone draws random inputs,
    which warns and never satisfies a gate. ``isaac_ros`` is the ROS 2 parameter file of the node that is to load the
    engine, ``FILE#NODE`` where it has several. ``shapes`` gives dynamic dimensions ``[min, opt, max]`` by
    the name the ONNX file gives them. ``deployed`` is the ONNX file that engines are built from where somebody's
    tool made another one of ``path``, which stays what they are compared with.
    """

    path: str
    deployed: str | None = None
    precisions: Annotated[tuple[Precision, ...], Field(min_length=1)] = ("fp32",)
    data: str
    preprocess: str | None = None
    training_data: str | None = None
    reference: str | None = None
    task: str | None = None
    metric: str | None = None
    detection: DetectionSpec | None = None
    batch: Positive = 1
    samples: Positive | None = None
    shapes: dict[str, tuple[Positive, Positive, Positive]] = {}
    ranges: dict[str, tuple[float, float]] = {}
    engine: str | None = None
    isaac_ros: str | None = None
    build: BuildSpec = BuildSpec()
    run: RunSpec = RunSpec()
    calibration: CalibrationSpec | None = None
    limits: LimitsSpec = LimitsSpec()
    tolerances: dict[Precision, TolerancesSpec] = {}
    on: dict[str, OverrideSpec] = {}


class MeasureSpec(Table):
    """``[measure]``: how long and how surely things are measured."""

    duration: Seconds = 4.0
    warmup: Seconds = 0.5
    budget: Seconds = 20.0
    runs: Annotated[int, Field(ge=1, le=1000)] = 1
    run_duration: Seconds = 1.0
    paced: Seconds = 300.0
    sustained: Seconds = 60.0
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.99
    baseline_age: Annotated[Age, Field(gt=0)] = 90 * 86400.0
    soak: Positive = 2000
    examples: Annotated[int, Field(ge=1, le=100_000)] = 50


class GateSpec(Table):
    """``[gate]``: the policy a report is judged by.

    ``require`` holds patterns over ``id``, ``id model`` or ``id model precision`` (shell wildcards).
    A literal id is required of every model and precision it applies to, limit or not; a wildcard
    requires every planned row it matches, and at least one.

    ``detects`` is the change, as a share, that each required row with an interval must have been able to see.
    ``state`` names what the target's state contract must have declared. ``max_age`` and ``signed_by`` are judged where
    there is a clock and a bundle, by ``hil gate``: not by the run itself, whose report is new and not yet signed.
    """

    require: Annotated[tuple[Pattern, ...], Field(max_length=200)] = ("*",)
    evidence: Literal["device", "emulated", "host"] = "device"
    warnings: bool = False
    detects: Annotated[Fraction, Field(gt=0)] | None = None
    state: Annotated[tuple[Declared, ...], Field(max_length=10)] = ()
    max_age: AgeText | None = None
    signed_by: Annotated[tuple[Signer, ...], Field(max_length=20)] = ()

    @property
    def oldest(self) -> float | None:
        """``max_age`` in seconds."""
        return None if self.max_age is None else parse(self.max_age, Dimension.AGE)


class ConfigSpec(Table):
    """The whole of ``hil.toml``."""

    project: ProjectSpec = ProjectSpec()
    targets: dict[str, TargetSpec] = {}
    models: Annotated[dict[str, ModelSpec], Field(min_length=1)]
    measure: MeasureSpec = MeasureSpec()
    gate: GateSpec = GateSpec()


Json = dict[str, Any]
