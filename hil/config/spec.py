"""Define the structure of ``hil.toml``: one frozen pydantic model for each table.

Quantities are written with their unit (``"5 ms"``) and stored in base units (0.005). Paths are relative to the folder
of ``hil.toml``; ``hil.config.load`` resolves them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hil.config.fields import (
    PRECISIONS,
    Age,
    AgeText,
    Declared,
    Draws,
    Fraction,
    Pattern,
    Precision,
    Reach,
    Seconds,
    Signer,
    Soak,
    SoakLength,
    StatedTable,
    Table,
)
from hil.config.limits import (
    CommonLimits,
    LatencyLimits,
    LimitsSpec,
    PacedLimits,
    PrecisionLimits,
    RegressionLimits,
    SpeedupLimit,
    SustainedLimits,
    ToleranceSpec,
    TolerancesSpec,
)
from hil.config.models import (
    BuildSpec,
    CalibrationSpec,
    DetectionSpec,
    InputSpec,
    ModelSpec,
    OutputSpec,
    OverrideSpec,
    RunSpec,
)
from hil.config.targets import ContainerSpec, DeployContainerSpec, DeploySpec, TargetSpec
from hil.units import Dimension, parse

__all__ = [
    "PRECISIONS",
    "BuildSpec",
    "CalibrationSpec",
    "CommonLimits",
    "ConfigSpec",
    "ContainerSpec",
    "DeployContainerSpec",
    "DeploySpec",
    "DetectionSpec",
    "GateSpec",
    "InputSpec",
    "LatencyLimits",
    "LimitsSpec",
    "MeasureSpec",
    "ModelSpec",
    "OutputSpec",
    "OverrideSpec",
    "PacedLimits",
    "Precision",
    "PrecisionLimits",
    "ProjectSpec",
    "RegressionLimits",
    "RunSpec",
    "SpeedupLimit",
    "StatedTable",
    "SustainedLimits",
    "Table",
    "TargetSpec",
    "ToleranceSpec",
    "TolerancesSpec",
]


class ProjectSpec(Table):
    """``[project]``: where the report, the history and the cache are written."""

    report: str = "report"
    history: str = "sqlite:///.hil/history.db"
    cache: str = ".hil/cache"


class MeasureSpec(Table):
    """``[measure]``: the durations, the number of runs and the confidence of measurements."""

    duration: Seconds = 4.0
    warmup: Seconds = 0.5
    budget: Seconds = 20.0
    runs: Annotated[int, Field(ge=1, le=1000)] = 1
    run_duration: Seconds = 1.0
    paced: Seconds = 300.0
    sustained: Seconds = 60.0
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.99
    baseline_age: Annotated[Age, Field(gt=0)] = 90 * 86400.0
    soak: Soak | None = None
    examples: Annotated[int, Field(ge=1, le=100_000)] | None = None

    @property
    def draws(self) -> Draws:
        """How many batches are drawn for the properties: ``examples``, or the default if it is not written."""
        return Draws() if self.examples is None else Draws(self.examples, self.examples, None)

    @property
    def soak_length(self) -> SoakLength:
        """How long memory is observed: ``soak``, or the default if it is not written."""
        return SoakLength.of(self.soak)


class GateSpec(Table):
    """``[gate]``: the policy by which a report is judged.

    Attributes:
        require: patterns for ``id``, ``id model`` or ``id model precision``. A literal id requires the check for every
            model and precision; a wildcard requires every planned row that it matches, at least one.
        evidence: the weakest evidence that is accepted.
        warnings: whether warned rows are accepted.
        detects: the change, as a fraction, that each required row with an interval must be able to detect.
        state: the keys that the target's state contract must declare.
        max_age: the maximum age of a report; judged by commands such as ``hil gate``, not by the run that writes it.
        clean: whether the run may use only files of a commit; by default, true for evidence ``device``.
        signed_by: the accepted signers; judged by commands such as ``hil gate``, not by the run that writes the report.
    """

    require: Annotated[tuple[Pattern, ...], Field(max_length=200)] = ("*",)
    evidence: Literal["device", "emulated", "host"] = "device"
    warnings: bool = False
    detects: (
        Annotated[Fraction, Field(gt=0), Reach("at 100 %, no change needs to be detectable", 1.0, "5 %", share=True)]
        | None
    ) = None
    state: Annotated[tuple[Declared, ...], Field(max_length=10)] = ()
    max_age: AgeText | None = None
    clean: bool | None = None
    signed_by: Annotated[tuple[Signer, ...], Field(max_length=20)] = ()

    @property
    def requires_clean(self) -> bool:
        """Whether the run may use only files of a commit: ``clean``; if unset, true for evidence ``device``."""
        return self.evidence == "device" if self.clean is None else self.clean

    @property
    def oldest(self) -> float | None:
        """``max_age`` in seconds; ``None`` if the policy sets no maximum age."""
        return None if self.max_age is None else parse(self.max_age, Dimension.AGE)


class ConfigSpec(Table):
    """All of ``hil.toml``."""

    project: ProjectSpec = ProjectSpec()
    targets: dict[str, TargetSpec] = {}
    models: Annotated[dict[str, ModelSpec], Field(min_length=1)]
    measure: MeasureSpec = MeasureSpec()
    gate: GateSpec = GateSpec()
