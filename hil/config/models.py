"""``[models.NAME]``: a model, how its engine is built, calibrated and run, and what differs on a target."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hil.config.fields import Bytes, Positive, Precision, Rate, Reach, Seconds, Table
from hil.config.limits import LimitsSpec, TolerancesSpec


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
    deadline: Annotated[Seconds, Field(gt=0), Reach("a time has no greatest value")] | None = None


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
