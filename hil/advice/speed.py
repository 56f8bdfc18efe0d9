"""Advise on time: for engines that are too slow, inconclusive, drifting, throttled, or limited by the host."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hil.advice.report_facts import deciding_value, excess, keeps, listed, named, number, parity_of, table
from hil.checks.latency import COUNTS
from hil.results import Verdict
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.advice.report_facts import Around
    from hil.results import CheckResult

PERCENTILES = ("latency.p50", "latency.p90", "latency.p99")
TIMED = (*PERCENTILES, "fps.sustained", "fps.slowest_second", "fps.last_100", "sustained.p99", "sustained.fps")
HOST_BOUND = 0.6
"""The host is the bottleneck if the device computes for less than this share of an inference's time."""
MOST_NAMED = 5
MOMENTS = ("fps.slowest_second", "fps.last_100")
STALL = 2
"""If the overall rate is at least this multiple of the limit, a slow moment is not attributed to a layer."""


def _missed(check: CheckResult) -> bool:
    return check.id in TIMED and check.verdict in (Verdict.FAILED, Verdict.WARNED)


def stalled(check: CheckResult, around: Around) -> Iterator[str]:
    """Report a slow moment of an engine that is fast enough overall, since something interrupted it."""
    rate = around.measured(check, "fps.sustained")
    if not _stalled(check, around) or rate is None or check.measurement is None:
        return
    at = check.details.get("at_seconds")
    when = f" from {show(at, 's')} on" if isinstance(at, float) else ""
    yield (
        f"the engine reaches {show(rate.value, '1/s')} overall but only {show(check.measurement.value, '1/s')}{when}: "
        "something interrupted it, so check what else ran there before changing the model"
    )


def _stalled(check: CheckResult, around: Around) -> bool:
    """Return whether only a slow moment missed the limit: the overall rate is ``STALL`` times the limit or more."""
    rate = around.measured(check, "fps.sustained")
    if check.id not in MOMENTS or not _missed(check) or check.limit is None or rate is None:
        return False
    return rate.value >= STALL * check.limit.value


def slowest(check: CheckResult, around: Around) -> Iterator[str]:
    """Report which layers must become faster to meet the limit, or advise to prune the model if none would suffice."""
    need, nodes = excess(check), listed(check.details.get("slowest_nodes"))
    ranked = [(named(node.get("name")), number(node.get("share")) or 0.0) for node in nodes]
    if not _missed(check) or need is None or not ranked or not ranked[0][1] or _stalled(check, around):
        return
    first, share = ranked[0]
    if share > need:
        faster = share / (share - need)
        goal = f"the time must shrink by {need:.0%}; "
        yield f"{goal}{first} takes {share:.0%}: speeding it up {faster:.3g} times would be enough"
        return
    together = 0.0
    for count, (_, more) in enumerate(ranked, 1):
        together += more
        if together > need and count <= MOST_NAMED:
            parts = ", ".join(name for name, _ in ranked[:count])
            what = f"no layer takes that much alone, but {parts} together do ({together:.0%})"
            yield f"the time must shrink by {need:.0%}; {what}: optimize them"
            return
    whole = f"the {len(ranked)} slowest layers take only {together:.0%}"
    yield f"the time must shrink by {need:.0%}, and {whole}: prune the model or use a smaller one"


def lower_precision(check: CheckResult, around: Around) -> Iterator[str]:
    """Name each coarser precision of the same model that meets the limit."""
    if not _missed(check) or check.limit is None:
        return
    for precision in around.coarser(check):
        other = around.measured(check, check.id, precision)
        if other is not None and keeps(other, check):
            text = f"{precision} of {check.model} meets this limit here, with {show(other.value, other.unit)}"
            yield text + parity_of(around, check, precision)


def host_bound(check: CheckResult, around: Around) -> Iterator[str]:
    """Advise on a device that waits for the host: use a CUDA graph, let streams overlap, or copy less data."""
    key, row_id = ("device_p99", check.id) if check.id == "latency.p99" else ("device_p50", "latency.p50")
    host = around.measured(check, row_id)
    device = number(around.details(check, row_id).get(key))
    if not _missed(check) or device is None or host is None or device >= HOST_BOUND * host.value:
        return
    graph = around.method(check).get("cuda_graph")
    share = f"{show(device, 's')} of the {show(host.value, 's')} of {row_id} ({device / host.value:.0%})"
    text = f"the device computes during only {share}"
    if graph is False:
        yield f"{text}, the rest is launch overhead: set cuda_graph = true in [models.{check.model}.run]"
    elif check.id.startswith("fps.") and around.method(check).get("streams") == 1:
        yield f"{text}: let inferences overlap with streams = 2 in [models.{check.model}.run]"
    elif graph is True:
        yield f"{text}, although a CUDA graph launches it: copy less data to and from the device"


def throttled(check: CheckResult, around: Around) -> Iterator[str]:
    """Advise to cool the board or to lower its power, if the model's own load made it throttle."""
    for finding in listed(check.details.get("state")):
        if finding.get("source") == "own" and finding.get("kind") == "throttle":
            mode = table(around.environment(check).get("identity")).get("power_mode")
            now = f" than {named(mode)}" if mode else ""
            yield f"{finding.get('text')}: improve the cooling, or choose a power mode with a lower power budget{now}"


def settle(check: CheckResult, around: Around) -> Iterator[str]:
    """Report how many more samples would decide an inconclusive percentile, and how long they take.

    If no number would decide it, report how much faster the engine must be.
    """
    measured, limit = check.measurement, check.limit
    if check.id not in PERCENTILES or check.verdict is not Verdict.INCONCLUSIVE or measured is None or limit is None:
        return
    missing = number(check.details.get("samples_missing"))
    if missing is not None:
        seconds = number(check.details.get("seconds_missing")) or missing * _seconds_each(check, around)
        total = seconds * (1 + measured.n / missing)
        if not math.isfinite(total):
            return
        more = f"{missing:,.0f} more samples take about {show(seconds, 's')}"
        worth = number(check.details.get("effective_samples")) or measured.n
        other = f", or stop other work there: because of it, {measured.n:,} samples count for only {worth:,.0f}"
        yield f"{more}: raise [measure] budget to {math.ceil(total)} s or more{other * (worth <= COUNTS * measured.n)}"
    elif "samples_missing" in check.details and measured.high is not None and measured.low is not None:
        need = excess(check)
        if measured.low <= limit.value < measured.high and need is not None:
            yield (
                f"the limit is within the measured range ({show(measured.low, 's')} to {show(measured.high, 's')}): "
                f"make the engine {need:.1%} faster, or justify a limit of {show(measured.high, 's')}"
            )


def _seconds_each(check: CheckResult, around: Around) -> float:
    """Return the mean seconds from one inference to the next, by the frame rate; without a rate, the median latency."""
    rate, batch = around.measured(check, "fps.sustained"), around.method(check).get("batch")
    if rate is not None and rate.value > 0 and isinstance(batch, int):
        return batch / rate.value
    typical = around.measured(check, "latency.p50") or check.measurement
    return typical.value if typical is not None else 0.0


def drifting(check: CheckResult, _around: Around) -> Iterator[str]:
    """Report the direction and size of a drift, and how to measure without it."""
    rise = check.details.get("drift")
    if check.verdict is not Verdict.INCONCLUSIVE or check.id not in PERCENTILES or check.measurement is None:
        return
    if isinstance(rise, bool) or not isinstance(rise, (int, float)) or not rise or not math.isfinite(rise):
        return
    share = abs(rise) / check.measurement.value
    if rise < 0:
        yield f"the engine got {share:.0%} faster during timing: raise [measure] warmup until the latency is steady"
    else:
        limit = f"[models.{check.model}.limits.sustained]"
        yield f"the engine got {share:.0%} slower during timing: judge minutes of work instead, with p99 in {limit}"


def frames_short(check: CheckResult, around: Around) -> Iterator[str]:
    """Report, for a frame rate below its limit, how long a frame takes and how long a frame may take."""
    bound, limit = deciding_value(check), check.limit
    if not _missed(check) or _stalled(check, around) or bound is None or limit is None or limit.unit != "1/s":
        return
    if 0 < bound < limit.value:
        yield f"a frame takes {show(1 / bound, 's')} but may take only {show(1 / limit.value, 's')}"


def cold(check: CheckResult, _around: Around) -> Iterator[str]:
    """Report that only the first of several repeats exceeds the limit, which cold caches can cause."""
    repeats = check.details.get("repeats")
    if check.id not in ("latency.cold_load", "latency.first_inference") or check.verdict is not Verdict.FAILED:
        return
    values = [number(repeat) for repeat in repeats] if isinstance(repeats, list) else []
    known = [value for value in values if value is not None]
    if check.limit is None or len(known) != len(values) or len(known) < 2 or known[0] != max(known):
        return
    rest = max(known[1:])
    if rest <= check.limit.value < known[0]:
        yield (
            f"only the first of {len(known)} repeats exceeds the limit "
            f"({show(known[0], 's')}, then at most {show(rest, 's')}): "
            "load the engine when the robot starts, before it is needed"
        )


def paced(check: CheckResult, around: Around) -> Iterator[str]:
    """Report the rate that the engine sustains, if an inference takes longer than a period of the required rate.

    Otherwise, report if more than half of the response time is spent waiting for the processor.
    """
    rate, took = number(check.details.get("rate")), around.measured(check, "latency.p99")
    if not check.id.startswith("paced.") or check.verdict not in (Verdict.FAILED, Verdict.INCONCLUSIVE):
        return
    late, response = number(check.details.get("late_wakeup_p99")), number(check.details.get("response_p99"))
    if rate is not None and took is not None and took.value > 1 / rate:
        yield (
            f"at {rate:g} /s a frame arrives every {show(1 / rate, 's')} and an inference takes "
            f"{show(took.value, 's')} (p99): the engine sustains {1 / took.value:.3g} /s"
        )
    elif late is not None and response is not None and late > response / 2:
        what = f"{show(late, 's')} of the {show(response, 's')} response time (p99) is spent waiting for the processor"
        yield f"{what}: give the worker's process a real-time priority or a core of its own"


def heating(check: CheckResult, _around: Around) -> Iterator[str]:
    """Report how much p99 rose over minutes, and since when it has been steady, if it is steady."""
    thirds = check.details.get("thirds_p99")
    if check.id != "sustained.slowdown" or check.verdict not in (Verdict.FAILED, Verdict.INCONCLUSIVE):
        return
    values = [number(third) for third in thirds] if isinstance(thirds, list) else []
    known = [value for value in values if value is not None]
    if len(known) < 2 or known[-1] <= known[0]:
        return
    since, ends = (
        number(check.details.get("steady_since")),
        f"p99 went from {show(known[0], 's')} to {show(known[-1], 's')}",
    )
    if since is not None:
        yield f"{ends} and was steady from {show(since, 's')} on: judge the limit from then on, or improve the cooling"
    else:
        yield f"{ends} and was still changing: raise [measure] sustained"


RULES = (stalled, slowest, lower_precision, host_bound, throttled, settle, drifting, frames_short, cold, paced, heating)
