"""Advise on memory: the runtime's, the model's, the machine's, the engine file, and leaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.advice.report_facts import excess, keeps, number, parity_of, table
from hil.checks.memory import SETTLING
from hil.results import Verdict
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.advice.report_facts import Around
    from hil.results import CheckResult

WEIGHTS = {"fp32": {"fp16": 2, "int8": 4}, "fp16": {"int8": 2}}
"""The factor by which weights shrink, by the present precision and then the new precision."""
BIG = 0.2
"""Scratch memory is reported if it is at least this share of the used memory."""
HOUR = 3600


def _failed(check: CheckResult, *ids: str) -> bool:
    return check.id in ids and check.verdict in (Verdict.FAILED, Verdict.WARNED)


def _used(check: CheckResult) -> float | None:
    return None if check.measurement is None else number(check.measurement.value)


def runtime_alone(check: CheckResult, _around: Around) -> Iterator[str]:
    """Report that the bare runtime already exceeds the limit, or how much memory is left for the model."""
    baseline, used = number(check.details.get("baseline")), _used(check)
    if not _failed(check, "memory.peak") or baseline is None or used is None or check.limit is None:
        return
    if baseline > check.limit.value:
        what = f"the bare runtime takes {show(baseline, 'B')} before the model is loaded"
        limit = show(check.limit.value, "B")
        yield f"{what}: no model can meet {limit}: raise the limit or change the runtime"
    elif used > baseline:
        room = check.limit.value - baseline
        own = show(used - baseline, "B")
        yield f"the model uses {own} of {show(used, 'B')}; the limit leaves {show(room, 'B')} for it"


def quantize(check: CheckResult, around: Around) -> Iterator[str]:
    """Name a precision whose memory is within the limit, or estimate how much memory weights of fewer bits save."""
    engine, need = around.engine(check), excess(check)
    if not _failed(check, "memory.peak", "memory.model", "memory.engine_size") or engine is None or need is None:
        return
    planned = list(around.coarser(check))
    for precision in planned:
        other = around.measured(check, check.id, precision)
        if other is not None and keeps(other, check):
            fits = f"{precision} of {check.model} meets the limit, with {show(other.value, 'B')}"
            yield fits + parity_of(around, check, precision)
            return
    used = _used(check)
    for precision, times in WEIGHTS.get(check.precision, {}).items():
        saved = engine.size * (1 - 1 / times)
        if precision not in planned and used is not None and saved >= need * used:
            what = f"the engine file has {show(engine.size, 'B')}, and {show(need * used, 'B')} must be saved"
            yield f"{what}: weights in {precision} would save up to {show(saved, 'B')}: add {precision!r} to precisions"
            return
    if used is not None and check.id == "memory.engine_size":
        yield f"{show(need * used, 'B')} must be saved ({need:.0%}): prune the model, or use a smaller one"


def activations(check: CheckResult, around: Around) -> Iterator[str]:
    """Report that activations and scratch memory, which depend on batch and shapes, take a large share."""
    scratch, used = number(check.details.get("device_memory_size")), _used(check)
    if not _failed(check, "memory.peak") or scratch is None or used is None or scratch < BIG * used:
        return
    engine, batch = around.engine(check), around.method(check).get("batch")
    workspace = number(engine.about.get("workspace")) if engine is not None else None
    text = f"activations and scratch take {show(scratch, 'B')} of {show(used, 'B')}"
    ways = [f"workspace is {show(workspace, 'B')} now"] if workspace is not None else []
    ways += [f"batch is {batch}"] if isinstance(batch, int) and batch > 1 else []
    now = f" ({', '.join(ways)})" if ways else ""
    yield f"{text}: reduce the largest shape, the batch or build.workspace{now}"


def build_peak(check: CheckResult, _around: Around) -> Iterator[str]:
    """Report a build that took more than twice the memory of running the engine."""
    peak, used = table(check.details.get("build_peak")), _used(check)
    most = number(peak.get("device")) or number(peak.get("rss"))
    if _failed(check, "memory.peak") and most is not None and used is not None and most > 2 * used:
        what = f"building the engine took {show(most, 'B')} of memory, more than running it"
        yield f"{what}: a board that builds the engine needs that much free memory"


def others(check: CheckResult, around: Around) -> Iterator[str]:
    """Report how much of the machine's used memory the model does not use."""
    used, total = number(check.details.get("used")), number(check.details.get("total"))
    own = around.measured(check, "memory.peak")
    if not _failed(check, "memory.system") or used is None or total is None or own is None or check.limit is None:
        return
    if own.value >= used:
        return
    rest, most = used - own.value, check.limit.value * total
    text = f"{show(rest, 'B')} of the {show(used, 'B')} in use is not this model's"
    if rest > most:
        yield f"{text}, and that alone exceeds the limit of {show(most, 'B')}: stop services there (stop_services)"
    else:
        yield f"{text}: {show(used - most, 'B')} must be freed, and the model uses {show(own.value, 'B')}"


def leak(check: CheckResult, around: Around) -> Iterator[str]:
    """Report how much memory leaks in an hour at the measured rate."""
    rate, slope = around.measured(check, "fps.sustained"), _used(check)
    if not _failed(check, "memory.growth") or rate is None or slope is None or number(rate.value) is None:
        return
    hourly = number(slope / 1000 * rate.value * HOUR)
    if hourly is None:  # beyond what a float holds
        return
    total = number(around.details(check, "memory.system").get("total"))
    full = f", and fills the {show(total, 'B')} of this machine in {total / hourly:.3g} hours" if total else ""
    yield f"at {show(rate.value, '1/s')} the process leaks {show(hourly, 'B')} per hour{full}"


def soak(check: CheckResult, _around: Around) -> Iterator[str]:
    """Report how many inferences an inconclusive soak had, and how many it should have."""
    done, limit, measured = number(check.details.get("inferences")), check.limit, check.measurement
    if check.id != "memory.growth" or check.verdict is not Verdict.INCONCLUSIVE or done is None:
        return
    if (
        limit is not None
        and measured is not None
        and measured.high is not None
        and measured.low is not None
        and limit.value > 0
    ):
        # The slope's interval shrinks as the soak to the power of 1.5 (its error over evenly spaced readings).
        spare = max(abs(limit.value - measured.value), limit.value / 10)
        reach = max(measured.high - measured.value, 0.0) / spare
        # What a leak may fill unseen adds to what was measured, and shrinks as the soak. A little more is advised:
        # memory that was constant in this soak may change once in the next one.
        unseen = (number(check.details.get("smallest_visible")) or 0.0) - max(measured.value, 0.0)
        visible = SETTLING * unseen / spare
        longer = _round(done * max(2.0, reach ** (2 / 3), visible))
        yield f"memory was observed over {done:,.0f} inferences: set [measure] soak to {longer}"


def _round(value: float) -> int:
    size = 10 ** max(len(str(int(value))) - 2, 0)
    return int(-(-value // size) * size)


RULES = (runtime_alone, quantize, activations, build_peak, others, leak, soak)
