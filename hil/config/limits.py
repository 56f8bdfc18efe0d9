"""``[models.NAME.limits]`` and ``[models.NAME.tolerances.PRECISION]``: what results are held against."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hil.config.fields import Bytes, Energy, Fraction, Rate, Seconds, StatedTable, Table


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
