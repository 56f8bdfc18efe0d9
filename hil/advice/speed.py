"""What to do about time: too slow, too few frames, not settled, drifting, throttled, bound by the host."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hil.advice.report_facts import deciding_value, excess, keeps, listed, named, number, parity_of, table
from hil.results import Verdict
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.advice.report_facts import Around
    from hil.results import CheckResult

PERCENTILES = ("latency.p50", "latency.p90", "latency.p99")
TIMED = (*PERCENTILES, "fps.sustained", "fps.slowest_second", "fps.last_100", "sustained.p99", "sustained.fps")
HOST_BOUND = 0.6
"""Share of the time an inference takes under which the device is waiting rather than working."""
MOST_NAMED = 5
MOMENTS = ("fps.slowest_second", "fps.last_100")
STALL = 2
"""Times its limit that a rate must keep on the whole for a slow moment to be no layer's doing."""


def _missed(check: CheckResult) -> bool:
    return check.id in TIMED and check.verdict in (Verdict.FAILED, Verdict.WARNED)


def stalled(check: CheckResult, around: Around) -> Iterator[str]:
    """Fast enough on the whole, and for a moment not: that was no layer's doing."""
    rate = around.measured(check, "fps.sustained")
    if not _stalled(check, around) or rate is None or check.measurement is None:
        return
    at = check.details.get("at_seconds")
    when = f" from {show(at, 's')} on" if isinstance(at, float) else ""
    yield (
        f"it does {show(rate.value, '1/s')} on the whole and {show(check.measurement.value, '1/s')}{when}: something "
        "stopped it meanwhile, see what else ran there before the model is changed"
    )


def _stalled(check: CheckResult, around: Around) -> bool:
    """Whether a moment broke a limit that the whole keeps by ``STALL`` at least."""
    rate = around.measured(check, "fps.sustained")
    if check.id not in MOMENTS or not _missed(check) or check.limit is None or rate is None:
        return False
    return rate.value >= STALL * check.limit.value


def slowest(check: CheckResult, around: Around) -> Iterator[str]:
    """Whether the slowest layer alone can bring the time back, or how many it takes."""
    need, nodes = excess(check), listed(check.details.get("slowest_nodes"))
    ranked = [(named(node.get("name")), number(node.get("share")) or 0.0) for node in nodes]
    if not _missed(check) or need is None or not ranked or not ranked[0][1] or _stalled(check, around):
        return
    first, share = ranked[0]
    if share > need:
        faster = share / (share - need)
        yield f"{need:.0%} of the time must go; {first} takes {share:.0%}: {faster:.3g} times as fast it would do alone"
        return
    together = 0.0
    for count, (_, more) in enumerate(ranked, 1):
        together += more
        if together > need and count <= MOST_NAMED:
            parts = ", ".join(name for name, _ in ranked[:count])
            yield f"{need:.0%} of the time must go; only {parts} together take more ({together:.0%}): work on those"
            return
    whole = f"the {len(ranked)} slowest layers take {together:.0%} together"
    yield f"{need:.0%} of the time must go and {whole}: no single layer does it, prune the model or take a smaller one"


def lower_precision(check: CheckResult, around: Around) -> Iterator[str]:
    """Another precision of the same model that keeps the limit here."""
    if not _missed(check) or check.limit is None:
        return
    for precision in around.coarser(check):
        seen = around.measured(check, check.id, precision)
        if seen is not None and keeps(seen, check):
            says = f"{precision} of {check.model} keeps this limit here, with {show(seen.value, seen.unit)}"
            yield says + parity_of(around, check, precision)


def host_bound(check: CheckResult, around: Around) -> Iterator[str]:
    """The device waits for the host: launch once (CUDA graph), or overlap (streams)."""
    key, beside = ("device_p99", check.id) if check.id == "latency.p99" else ("device_p50", "latency.p50")
    seen = around.measured(check, beside)
    device = number(around.details(check, beside).get(key))
    if not _missed(check) or device is None or seen is None or device >= HOST_BOUND * seen.value:
        return
    graph = around.method(check).get("cuda_graph")
    share = f"{show(device, 's')} of the {show(seen.value, 's')} of {beside} ({device / seen.value:.0%})"
    says = f"the device works for {share}"
    if graph is False:
        yield f"{says}, the rest is launching: set cuda_graph = true in [models.{check.model}.run]"
    elif check.id.startswith("fps.") and around.method(check).get("streams") == 1:
        yield f"{says}: let inferences overlap with streams = 2 in [models.{check.model}.run]"
    elif graph is True:
        yield f"{says}, though a CUDA graph launches it: make what is copied to and from the device smaller"


def throttled(check: CheckResult, around: Around) -> Iterator[str]:
    """The model's own heat holds the clocks back."""
    for finding in listed(check.details.get("state")):
        if finding.get("source") == "own" and finding.get("kind") == "throttle":
            mode = table(around.environment(check).get("identity")).get("power_mode")
            now = f" than {named(mode)}" if mode else ""
            yield f"{finding.get('text')}: cool the board better, or choose a power mode with a lower fixed budget{now}"


def settle(check: CheckResult, around: Around) -> Iterator[str]:
    """How many more samples settle a percentile, and how long that takes; or that none do."""
    seen, limit = check.measurement, check.limit
    if check.id not in PERCENTILES or check.verdict is not Verdict.INCONCLUSIVE or seen is None or limit is None:
        return
    missing = number(check.details.get("samples_missing"))
    if missing is not None:
        each = _seconds_each(check, around)
        total = (seen.n + missing) * each
        more = f"{missing:,.0f} more samples take about {show(missing * each, 's')}"
        yield f"{more}: raise [measure] budget to {math.ceil(total)} s or more"
    elif "samples_missing" in check.details and seen.high is not None and seen.low is not None:
        need = excess(check)
        if seen.low <= limit.value < seen.high and need is not None:
            yield (
                f"the limit lies inside what the engine does ({show(seen.low, 's')} to {show(seen.high, 's')}): "
                f"make it {need:.1%} faster, or give a reason for {show(seen.high, 's')}"
            )


def _seconds_each(check: CheckResult, around: Around) -> float:
    """Seconds from one inference to the next: by the frame rate, for where a few are slow no percentile tells it."""
    rate, batch = around.measured(check, "fps.sustained"), around.method(check).get("batch")
    if rate is not None and rate.value > 0 and isinstance(batch, int):
        return batch / rate.value
    typical = around.measured(check, "latency.p50") or check.measurement
    return typical.value if typical is not None else 0.0


def drifting(check: CheckResult, _around: Around) -> Iterator[str]:
    """It was not steady: which way, by how much, and what that usually takes."""
    rise = check.details.get("drift")
    if check.verdict is not Verdict.INCONCLUSIVE or check.id not in PERCENTILES or check.measurement is None:
        return
    if isinstance(rise, bool) or not isinstance(rise, (int, float)) or not rise or not math.isfinite(rise):
        return
    share = abs(rise) / check.measurement.value
    if rise < 0:
        yield f"it got {share:.0%} faster while it was timed: raise [measure] warmup until it starts steady"
    else:
        limit = f"[models.{check.model}.limits.sustained]"
        yield f"it got {share:.0%} slower while it was timed: let minutes of work decide, with p99 under {limit}"


def frames_short(check: CheckResult, around: Around) -> Iterator[str]:
    """A rate under its target: what a frame may take, and what it takes."""
    bound, limit = deciding_value(check), check.limit
    if not _missed(check) or _stalled(check, around) or bound is None or limit is None or limit.unit != "1/s":
        return
    if 0 < bound < limit.value:
        yield f"a frame takes {show(1 / bound, 's')} and may take {show(1 / limit.value, 's')}"


def cold(check: CheckResult, _around: Around) -> Iterator[str]:
    """Only the first of several loads is over the limit: caches, not the engine."""
    repeats = check.details.get("repeats")
    if check.id not in ("latency.cold_load", "latency.first_inference") or check.verdict is not Verdict.FAILED:
        return
    values = [number(each) for each in repeats] if isinstance(repeats, list) else []
    known = [value for value in values if value is not None]
    if check.limit is None or len(known) != len(values) or len(known) < 2 or known[0] != max(known):
        return
    rest = max(known[1:])
    if rest <= check.limit.value < known[0]:
        yield (
            f"only the first of {len(known)} is over ({show(known[0], 's')}, then at most {show(rest, 's')}): "
            "load the engine when the robot starts, before it is needed"
        )


def paced(check: CheckResult, around: Around) -> Iterator[str]:
    """An inference takes longer than the camera's period: the rate that it can keep."""
    rate, took = number(check.details.get("rate")), around.measured(check, "latency.p99")
    if not check.id.startswith("paced.") or check.verdict not in (Verdict.FAILED, Verdict.INCONCLUSIVE):
        return
    late, response = number(check.details.get("late_wakeup_p99")), number(check.details.get("response_p99"))
    if rate is not None and took is not None and took.value > 1 / rate:
        yield (
            f"at {rate:g} /s a frame comes each {show(1 / rate, 's')} and an inference takes {show(took.value, 's')} "
            f"(p99): up to {1 / took.value:.3g} /s it keeps up"
        )
    elif late is not None and response is not None and late > response / 2:
        what = f"{show(late, 's')} of the {show(response, 's')} response (p99) is waiting for the processor"
        yield f"{what}: give the worker's process a real-time priority or a core of its own"


def heating(check: CheckResult, _around: Around) -> Iterator[str]:
    """A slowdown over minutes: how far it went, and when it stopped."""
    told = check.details.get("thirds_p99")
    if check.id != "sustained.slowdown" or check.verdict not in (Verdict.FAILED, Verdict.INCONCLUSIVE):
        return
    values = [number(each) for each in told] if isinstance(told, list) else []
    known = [value for value in values if value is not None]
    if len(known) < 2 or known[-1] <= known[0]:
        return
    since, ends = (
        number(check.details.get("steady_since")),
        f"p99 went from {show(known[0], 's')} to {show(known[-1], 's')}",
    )
    if since is not None:
        yield f"{ends} and was steady from {show(since, 's')} on: judge the limit by that, or cool the board better"
    else:
        yield f"{ends} and was still moving: raise [measure] sustained"


RULES = (stalled, slowest, lower_precision, host_bound, throttled, settle, drifting, frames_short, cold, paced, heating)
