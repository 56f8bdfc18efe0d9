"""Define ``[models.NAME]``: a model, how its engine is built, calibrated and run, and overrides for a target."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from hil.config.fields import Bytes, Positive, Precision, Rate, Reach, Seconds, Table
from hil.config.limits import LimitsSpec, TolerancesSpec

Layout = Literal["end-to-end", "efficient-nms", "channels-first", "objectness", "boxes-scores"]


class CalibrationSpec(Table):
    """``[models.NAME.calibration]``: the data and the method for INT8 ranges."""

    data: str
    samples: Positive | None = None
    method: Literal["entropy", "minmax", "percentile"] = "entropy"
    route: Literal["explicit", "implicit"] = "explicit"
    percentile: Annotated[float, Field(gt=50, le=100)] = 99.99
    exclude_nodes: tuple[str, ...] = ()


class DetectionSpec(Table):
    """``[models.NAME.detection]``: the layout of a detector's outputs, so that boxes can be scored.

    Attributes:
        layout: the arrangement of boxes, scores and classes (``hil.metrics.boxes``).
        boxes: whether a box is two corners, or centre and size.
        nms: of two boxes of a class with an IoU above this, the one with the lower score is dropped; ``None`` if the
            graph does this.
        score: boxes with a lower score are dropped.
        decode: a callable from a batch's outputs to one array [boxes, 6] for each image: x1 y1 x2 y2 score class.
    """

    layout: Layout = "end-to-end"
    boxes: Literal["corners", "centers"] = "corners"
    nms: Annotated[float, Field(gt=0, le=1)] | None = None
    score: Annotated[float, Field(ge=0, lt=1)] = 0.001
    decode: str | None = None


class OutputSpec(Table):
    """``[models.NAME.outputs.OUTPUT]``: what an output means, so that answers are compared instead of numbers.

    Attributes:
        kind: what the answer is (``hil.metrics.agreement``); all outputs of kind "detection" are read together.
        axis: the axis of the classes.
        score: the robot's threshold; results with a lower score are not answers.
        layout, boxes, nms: as in ``[models.NAME.detection]``, whose values are the defaults.
        blank: the class of kind "ctc" that is not a character.
        decode: a callable from a batch's outputs to the answer of each sample; of kind "detection", to its boxes.
    """

    kind: (
        Literal["classification", "detection", "segmentation", "ctc", "embedding", "regression", "keypoints"] | None
    ) = None
    axis: int | None = None
    score: Annotated[float, Field(ge=0, lt=1)] = 0.25
    layout: Layout | None = None
    boxes: Literal["corners", "centers"] | None = None
    nms: Annotated[float, Field(gt=0, le=1)] | None = None
    blank: int = 0
    decode: str | None = None


class BuildSpec(Table):
    """``[models.NAME.build]``: how the runtime builds the engine.

    Attributes:
        workspace, optimization_level: ``None`` stands for the runtime's default.
        plugins: shared libraries with TensorRT plugins, loaded before the model is parsed or the engine loaded.
        dla: the number of the DLA core; layers that it cannot run fall back to the GPU.
        strongly_typed: whether the ONNX file decides in which type each layer computes, as always from TensorRT 11 on.
    """

    workspace: Bytes | None = None
    optimization_level: Annotated[int, Field(ge=0, le=5)] | None = None
    plugins: tuple[str, ...] = ()
    dla: Annotated[int, Field(ge=0, le=7)] | None = None
    strongly_typed: bool = False
    time_limit: Seconds = 1800.0


class RunSpec(Table):
    """``[models.NAME.run]``: how the robot runs the engine, and therefore how it is timed.

    Attributes:
        cuda_graph: whether inferences are replayed from a CUDA graph.
        streams: how many inferences are in flight while the frame rate is measured.
        rate: the frame rate of the camera, which releases one inference in each period.
        deadline: the time from release to completion; by default the period.
    """

    cuda_graph: bool = False
    streams: Annotated[int, Field(ge=1, le=32)] = 1
    rate: Annotated[Rate, Field(ge=0.01, le=100_000)] | None = None
    deadline: Annotated[Seconds, Field(gt=0), Reach("a time has no upper bound")] | None = None


class InputSpec(Table):
    """``[models.NAME.inputs.INPUT]``: what the ONNX file does not state about an input.

    Attributes:
        shape: for each axis a size, ``[min, opt, max]``, or the name of a dimension; equal names have equal sizes.
        batch_axis: the axis along which samples are stacked; ``"none"`` for one tensor per call, whatever the batch
            size.
        value: a constant that is fed in every call.
        multiple_of: for each axis, a number of which its size must be a multiple.
        range: the least and the greatest valid value.
        carry: the output whose value in the previous step is fed to this input.
    """

    shape: tuple[Positive | tuple[Positive, Positive, Positive] | str, ...] | None = None
    batch_axis: Annotated[int, Field(ge=0)] | Literal["none"] | None = None
    value: bool | int | float | tuple[Any, ...] | None = None
    multiple_of: tuple[Positive, ...] | None = None
    range: tuple[float, float] | None = None
    carry: str | None = None


class OverrideSpec(Table):
    """``[models.NAME.on.TARGET]``: overrides for one target; only written keys replace the model's."""

    build: BuildSpec | None = None
    run: RunSpec | None = None
    engine: str | None = None
    precisions: tuple[Precision, ...] | None = None
    limits: LimitsSpec | None = None
    tolerances: dict[Precision, TolerancesSpec] | None = None


class ModelSpec(Table):
    """``[models.NAME]``: an ONNX file with its data, limits and tolerances.

    Attributes:
        path: the ONNX file.
        deployed: an ONNX file that a tool made from ``path``, or one for each precision; engines are built from it.
        data: an ``.npz`` file, Polygraphy's ``.json``, a folder of images (needs ``preprocess``),
            ``package.module:callable``, or ``synthetic`` for random inputs, which never satisfy a robot's gate.
        training_data: the training data, in the same forms.
        shapes: ``[min, opt, max]`` of dynamic dimensions, by their names in the ONNX file.
        inputs: what the ONNX file does not state about an input, by its name.
        outputs: what an output means, by its name.
        isaac_ros: the ROS 2 parameter file of the node that loads the engine; ``FILE#NODE`` if it has several nodes.
        guessed: keys of this table that ``hil init`` guessed, as dotted TOML keys; the user deletes one to confirm it.
    """

    path: str
    deployed: str | dict[Precision, str] | None = None
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
    inputs: dict[str, InputSpec] = {}
    outputs: dict[str, OutputSpec] = {}
    engine: str | None = None
    isaac_ros: str | None = None
    build: BuildSpec = BuildSpec()
    run: RunSpec = RunSpec()
    calibration: CalibrationSpec | None = None
    limits: LimitsSpec = LimitsSpec()
    tolerances: dict[Precision, TolerancesSpec] = {}
    guessed: tuple[str, ...] = ()
    on: dict[str, OverrideSpec] = {}

    def deployed_in(self, precision: str) -> str | None:
        """Return the file of ``deployed`` for ``precision``, ``None`` if there is none."""
        if isinstance(self.deployed, dict):
            return next((file for key, file in self.deployed.items() if key == precision), None)
        return self.deployed

    @property
    def deployed_files(self) -> tuple[str, ...]:
        """All files of ``deployed``, each once."""
        files = self.deployed.values() if isinstance(self.deployed, dict) else filter(None, (self.deployed,))
        return tuple(dict.fromkeys(files))

    @property
    def recurrent(self) -> bool:
        """Whether an input carries a state from step to step, so that the model is judged over whole sequences."""
        return any(one.carry is not None for one in self.inputs.values())

    @property
    def slice_axes(self) -> dict[str, int]:
        """The axes along which outputs are compared slice by slice, where they are declared."""
        return {name: one.axis for name, one in self.outputs.items() if one.axis is not None}
