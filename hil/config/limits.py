"""Define ``[models.NAME.limits]`` and ``[models.NAME.tolerances.PRECISION]``: the limits of results."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hil.config.fields import (
    PRECISIONS,
    Bytes,
    Energy,
    Fraction,
    Precision,
    Rate,
    Reach,
    Seconds,
    StatedTable,
    Table,
)

_Time = Annotated[Seconds, Reach("a time has no upper bound")]
_Memory = Annotated[Bytes, Reach("the available memory depends on the machine")]
_Count = Annotated[int, Field(ge=0), Reach("a count has no upper bound")]
_LeastRate = Annotated[Rate, Reach("every model reaches 0 fps", 0.0, "30 fps", at_least=True)]
_Drop = Annotated[Fraction, Reach("no score can drop by more than 100 %", 1.0, "1 %", share=True)]
_Own = Reach("the range of the output's own unit is unknown")
_LeastShare = Annotated[Fraction, Reach("a share is never less than 0 %", 0.0, "90 %", at_least=True, share=True)]


class LatencyLimits(Table):
    """``latency = { p50 = "2 ms", p99 = "5 ms" }``: upper limits of the time from host input to host output."""

    p50: _Time | None = None
    p90: _Time | None = None
    p99: _Time | None = None


class PacedLimits(Table):
    """``paced = { p99 = "33 ms", missed = "0.1 %", streak = 2 }``: limits for inferences released at ``run.rate``."""

    p99: _Time | None = None  # from release to completion
    missed: Annotated[Fraction, Reach("every engine meets it", 1.0, "0.1 %")] | None = None
    streak: _Count | None = None
    jitter: _Time | None = None


class SustainedLimits(Table):
    """``sustained = { p99 = "5 ms", fps = 28, slowdown = "5 %" }``: limits under a load of ``measure.sustained``.

    The last third of that time is judged; earlier thirds must meet ``p99`` and ``fps`` too.
    """

    p99: _Time | None = None
    fps: _LeastRate | None = None
    slowdown: Annotated[Fraction, Reach("a board that becomes twice as slow would pass", 1.0, "5 %")] | None = None


class RegressionLimits(Table):
    """``regression = { above = "1 %", exclude = "5 %" }``: limits of the relative worsening against the baseline.

    A row fails if it is significantly worse by more than ``above``. It passes if it improved or if the data exclude a
    worsening by ``exclude``. Otherwise it is inconclusive.
    """

    above: Annotated[Fraction, Reach("no rate can drop by more than 100 %", 1.0, "1 %")] | None = None
    exclude: Annotated[Fraction, Field(gt=0), Reach("no rate can drop by more than 100 %", 1.0, "5 %")] | None = None


class SpeedupLimit(Table):
    """``speedup = { over = "fp16", least = 1.2 }``: how much faster this precision has to be than another.

    Attributes:
        over: the other precision, on the same target.
        least: the smallest accepted ratio of the other precision's median latency to this one's.
    """

    over: Precision
    least: Annotated[float, Reach("every engine is more than 0 times as fast", 0.0, "1.2", at_least=True)]


class CommonLimits(StatedTable):
    """The limits that apply to any precision.

    ``paced``, ``sustained``, ``energy`` and ``in_precision`` are measured only with a limit. ``system_memory``,
    ``memory_growth``, ``int8_clipping``, ``regression`` and sometimes ``in_precision`` have default limits. Any other
    quantity without a limit is measured but not judged.
    """

    latency: LatencyLimits = LatencyLimits()
    cold_load: _Time | None = None
    first_inference: _Time | None = None
    fps: _LeastRate | None = None
    paced: PacedLimits = PacedLimits()
    sustained: SustainedLimits = SustainedLimits()
    energy: Annotated[Energy, Reach("an energy has no upper bound")] | None = (
        None  # of one inference, for the whole board
    )
    memory: _Memory | None = None
    model_memory: _Memory | None = None
    # Without it the default applies. A machine that is not a robot removes the limit with "100 %".
    system_memory: Annotated[Fraction, Reach("100 % removes the default limit", share=True)] | None = None
    engine_size: _Memory | None = None
    memory_growth: _Memory | None = None  # bytes per 1,000 inferences
    int8_speedup: (  # fp32 p50 / int8 p50
        Annotated[float, Reach("every engine is more than 0 times as fast", 0.0, "1.2", at_least=True)] | None
    ) = None
    int8_clipping: (  # maximum share of a tensor's validation values beyond its INT8 range
        Annotated[Fraction, Reach("at most 100 % of the values can exceed a range", 1.0, "5 %", share=True)] | None
    ) = None
    int8_layers: _LeastShare | None = None  # minimum share of the layers meant for INT8 that run in INT8
    dla_fallback: _Count | None = None  # maximum number of layers meant for the DLA that run on the GPU
    # Minimum share of the multiply-adds that run in the asked precision. "0 %" removes the default limit.
    in_precision: Annotated[Fraction, Reach("0 % removes the default limit", share=True)] | None = None
    regression: RegressionLimits = RegressionLimits()


class PrecisionLimits(CommonLimits):
    """``[models.NAME.limits.PRECISION]``: limits of one precision; each written key replaces that key of ``limits``."""

    speedup: SpeedupLimit | None = None


class LimitsSpec(CommonLimits):
    """``[models.NAME.limits]``: the limits of measurements, and tables for single precisions that replace them."""

    fp32: PrecisionLimits | None = None
    tf32: PrecisionLimits | None = None
    fp16: PrecisionLimits | None = None
    bf16: PrecisionLimits | None = None
    int8: PrecisionLimits | None = None
    fp8: PrecisionLimits | None = None
    fp4: PrecisionLimits | None = None
    int4: PrecisionLimits | None = None

    def own(self, precision: str) -> PrecisionLimits | None:
        """Return the table of a precision; ``None`` if it is not written."""
        table: PrecisionLimits | None = getattr(self, precision) if precision in PRECISIONS else None
        return table


class ToleranceSpec(Table):
    """How much an output may differ from the reference; ``None`` stands for the precision's default, if there is one.

    Attributes:
        slice_error: the largest error of a slice, relative to its own standard deviation in the reference.
        max_abs: the largest absolute error, in the output's own unit.
        max_rel: the largest error relative to the reference's largest magnitude.
        rmse: the root mean square error, in the output's own unit.
        cosine: the minimum cosine similarity.
        sqnr_db: the minimum ratio of signal to quantization noise, in dB.
        top1_agreement: the minimum share of samples whose argmax agrees.
        answers: the largest share of answers that may change, for outputs whose kind is declared.
        score_drift: the largest accepted mean change of the scores of these answers.
    """

    slice_error: (
        Annotated[
            float,
            Field(ge=0),
            Reach("an engine that always returns the mean of a slice has an error of 1", 1.0, "0.1"),
        ]
        | None
    ) = None
    max_abs: Annotated[float, Field(ge=0), _Own] | None = None
    max_rel: Annotated[float, Field(ge=0), Reach("an error has no upper bound")] | None = None
    rmse: Annotated[float, Field(ge=0), _Own] | None = None
    cosine: (
        Annotated[float, Field(ge=-1, le=1), Reach("a cosine is never less than -1", -1.0, "0.99", at_least=True)]
        | None
    ) = None
    sqnr_db: Annotated[float, Reach("a ratio in decibels has no lower bound")] | None = None
    top1_agreement: _LeastShare | None = None
    answers: Annotated[Fraction, Reach("every answer may change", 1.0, "5 %", share=True)] | None = None
    score_drift: Annotated[float, Field(ge=0), Reach("scores from 0 to 1 change by 1 at most", 1.0, "0.05")] | None = (
        None
    )


class TolerancesSpec(ToleranceSpec, StatedTable):
    """``[models.NAME.tolerances.PRECISION]``: tolerances of all outputs; keys of ``outputs.NAME`` override them.

    Attributes:
        outputs: the tolerances of single outputs, by name.
        top1_drop: the largest accepted loss of top-1 accuracy.
        top5_drop: the largest accepted loss of top-5 accuracy.
        map_drop: the largest accepted loss of a detector's mAP.
        miou_drop: the largest accepted loss of a segmentation's mean IoU.
        retrieval_drop: the largest accepted loss of retrieval accuracy.
        error_increase: the largest accepted relative growth of a regression task's error.
        score_drop: the largest accepted loss of a callable's mean score.
        no_disagreement_in: this many samples without a changed answer pass, although they do not prove the tolerance.
    """

    outputs: dict[str, ToleranceSpec] = {}
    no_disagreement_in: Annotated[int, Field(ge=10), Reach("a number of samples has no upper bound")] | None = None
    top1_drop: _Drop | None = None
    top5_drop: _Drop | None = None
    map_drop: _Drop | None = None
    miou_drop: _Drop | None = None
    retrieval_drop: _Drop | None = None
    error_increase: Annotated[Fraction, Reach("an error twice as large would pass", 1.0, "5 %")] | None = None
    score_drop: Annotated[float, Field(ge=0), _Own] | None = None
