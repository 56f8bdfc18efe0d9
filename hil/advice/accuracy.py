"""Advise on accuracy: what causes a loss, which outputs it affects, and how many samples would settle the verdict."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hil.advice.report_facts import listed, named, number, table
from hil.results import Verdict
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.advice.report_facts import Around
    from hil.results import CheckResult

OUTPUTS = ("parity.outputs", "sequence.teacher_forced", "sequence.free_running")
"""Checks that compare outputs with the reference's."""
ANSWERS = (*OUTPUTS, "parity.task", "int8.drop")
FEW_SAMPLES = 100
"""The advice is to add samples if calibration used fewer (TensorRT's guide: about 500 for an image classifier)."""
FAR_OFF = 10
"""A sample whose distance (1 - cosine) is over this multiple of the mean distance counts as an outlier."""
MOST_NAMED = 3
HELPED = 0.5
"""Keeping nodes in floating point is advised only if at most this share of the error remains."""


def _failed(check: CheckResult, *ids: str) -> bool:
    return check.id in ids and check.verdict is Verdict.FAILED


def three_ways(check: CheckResult, around: Around) -> Iterator[str]:
    """Report whether the check (for ``int8.drop``: ``parity.outputs``) passes in fp32 or fp16 on the same target."""
    if not _failed(check, *ANSWERS) or check.precision in ("", "fp32"):
        return
    name = "parity.outputs" if check.id == "int8.drop" else check.id
    sides = {p: around.judged(check, name, p) for p in ("fp32", "fp16") if p != check.precision}
    known = {p: row.verdict for p, row in sides.items() if row is not None and row.verdict is not Verdict.NOT_RUN}
    good = [p for p, verdict in known.items() if verdict in (Verdict.PASSED, Verdict.WARNED)]
    bad = [p for p, verdict in known.items() if verdict is Verdict.FAILED]
    if bad:
        yield f"{name} fails in {' and '.join(bad)} too: check the export or the build first, not {check.precision}"
    elif good:
        yield f"{name} passes in {' and '.join(good)} on the same target: only {check.precision} causes the loss"


def worst_output(check: CheckResult, _around: Around) -> Iterator[str]:
    """Name up to ``MOST_NAMED`` outputs that exceed their tolerance, each with its error as a multiple of it."""
    rows = listed(check.details.get("outputs"))
    out = [row for row in rows if row.get("met") is False]
    if not _failed(check, *OUTPUTS, "int8.drop") or not out or len(out) == len(rows) == 1:
        return
    parts = []
    for row in out[:MOST_NAMED]:
        use = number(row.get("use"))
        parts.append(f"{named(row.get('output'))}{f' ({use:.3g} times the tolerance)' if use is not None else ''}")
    others = len(rows) - len(out)
    count = f"{len(out)} of {len(rows)} outputs exceed their tolerance"
    within = f"; {others} within" if others else ""
    yield f"{count}: {', '.join(parts)}{within}"


def one_sample(check: CheckResult, _around: Around) -> Iterator[str]:
    """Name the worst sample of the first output, if its cosine is far below the mean cosine of all samples."""
    for row in listed(check.details.get("outputs"))[:1]:
        mean, worst = number(table(row.get("metrics")).get("cosine")), number(row.get("worst_cosine"))
        sample = row.get("worst_cosine_sample")
        if not _failed(check, "parity.outputs") or mean is None or worst is None or not isinstance(sample, int):
            return
        if 1 - worst > FAR_OFF * max(1 - mean, 1e-12):
            off = f"sample {sample} is an outlier (cosine {worst:.4g}, the mean is {mean:.4g})"
            yield f"{off}: check that sample's input"


def layers_to_keep(check: CheckResult, around: Around) -> Iterator[str]:
    """Name the nodes at which the INT8 error starts, if the run tried these in floating point and the error fell."""
    if check.precision != "int8" or not _failed(check, *ANSWERS):
        return
    source = check.id if check.id in OUTPUTS else "parity.outputs"
    tried = table(table(around.details(check, source).get("diagnosis")).get("kept_in_float"))
    before, after = number(tried.get("before")), number(tried.get("after"))
    nodes, score = tried.get("nodes"), table(tried.get("score"))
    lost, left, least = number(score.get("before")), score.get("after"), number(score.get("tolerance")) or 0.0
    loss, scored = "", False
    if lost is not None and isinstance(left, (int, float)):
        loss = f", the loss of score from {lost:.3g} to {left:.3g} (of {score.get('samples')} samples)"
        scored = lost > least and left <= HELPED * lost
    if not isinstance(nodes, list) or before is None or after is None or not (after <= HELPED * before or scored):
        return
    names = ", ".join(named(name) for name in nodes)
    gain = f"tried on this target with {tried.get('samples')} samples, the error of the worst output channel falls"
    where = f"[models.{check.model}.calibration] exclude_nodes"
    yield f"keep {names} in floating point: {gain} from {before:.3g} to {after:.3g}{loss}: name them in {where}"


def signal_end(check: CheckResult, around: Around) -> Iterator[str]:
    """Name the first node whose values are constant although they should vary, or state why this node is not known."""
    if not _failed(check, "parity.task", "int8.drop"):
        return
    end = table(around.details(check, "parity.task").get("signal_end"))
    why_not = end.get("why_not")
    if isinstance(why_not, str):
        yield f"the node at which the signal ends is not known: {why_not}"
    elif isinstance(end.get("text"), str):
        command = f"hil diagnose {check.model} --precision {check.precision} --target {check.target.requested}"
        yield f"{end['text']}: examine that node first, also with {command}"


def calibration_data(check: CheckResult, around: Around) -> Iterator[str]:
    """Advise on the first fault of the calibration: failed data, synthetic samples, few samples, or else the method."""
    model = around.model(check)
    if check.precision != "int8" or not _failed(check, *ANSWERS) or model is None:
        return
    data = around.judged(check, "int8.calibration_set")
    if data is not None and data.verdict is Verdict.FAILED:
        yield "the calibration data is at fault (int8.calibration_set): fix it first"
        return
    about = table(model.calibration)
    samples, method = number(about.get("samples")), about.get("method")
    if about.get("synthetic") is True:
        yield "the INT8 ranges come from synthetic samples: calibrate with real ones"
    elif samples is not None and samples < FEW_SAMPLES:
        yield f"the INT8 ranges come from {samples:.0f} samples: calibrate with a few hundred that cover the task"
    elif samples is not None and isinstance(method, str):
        other = "minmax" if method != "minmax" else "entropy"
        yield f"the INT8 ranges come from {samples:.0f} samples by {named(method)}: try {other} before more samples"


def more_samples(check: CheckResult, _around: Around) -> Iterator[str]:
    """Estimate how many samples would decide an inconclusive loss, if its mean stayed the same."""
    measured, limit = check.measurement, check.limit
    if check.id not in ("parity.task", "int8.drop") or check.verdict is not Verdict.INCONCLUSIVE:
        return
    if measured is None or limit is None or measured.confidence is None or not 0 < limit.value < 1 or measured.n < 1:
        return
    if "answers" in check.details:  # the reason has the number, by the bound for shares
        return
    least = math.ceil(math.log(1 - measured.confidence) / math.log(1 - limit.value))
    if measured.value <= 0 and measured.n < least:
        needed = f"excluding a loss of {show(limit.value, '1')} needs {least:,} samples"
        yield f"even without any loss, {needed}; there are {measured.n:,}"
    elif measured.high is not None and 0 < measured.value < limit.value < measured.high:
        # A mean's interval shrinks as the square root of the samples.
        times = ((measured.high - measured.value) / (limit.value - measured.value)) ** 2
        yield f"about {math.ceil(measured.n * times):,} validation samples would settle it; there are {measured.n:,}"


def not_faster(check: CheckResult, around: Around) -> Iterator[str]:
    """If INT8 lacks the required speed-up, report the share of layers in INT8, and fp16 if that is as fast."""
    if not _failed(check, "int8.speedup"):
        return
    share = around.measured(check, "placement.int8_layers")
    if share is not None:
        yield f"{show(share.value, '1')} of the layers that benefit from INT8 run in it (placement.int8_layers)"
    ours, half = around.measured(check, "latency.p50"), around.measured(check, "latency.p50", "fp16")
    if ours is not None and half is not None and half.value <= ours.value:
        yield f"fp16 takes {show(half.value, 's')}, int8 {show(ours.value, 's')} (p50): deploy fp16 instead of int8"


def fell_back(check: CheckResult, _around: Around) -> Iterator[str]:
    """Name the layers that fell back to the GPU or do not run in INT8."""
    key = {"placement.dla_fallback": "on_gpu", "placement.int8_layers": "not_int8"}.get(check.id, "")
    names = check.details.get(key)
    if check.verdict is not Verdict.FAILED or not isinstance(names, list) or not names:
        return
    shown = ", ".join(named(name) for name in names[:MOST_NAMED])
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    moves = number(check.details.get("moves")) if key == "on_gpu" else None
    cost = f", with {moves:.0f} copies between GPU and DLA" if moves else ""
    yield f"{'on the GPU' if key == 'on_gpu' else 'not in INT8'}: {shown}{more}{cost}"


RULES = (
    *(signal_end, three_ways, worst_output, one_sample, layers_to_keep, calibration_data),
    *(more_samples, not_faster, fell_back),
)
