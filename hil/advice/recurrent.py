"""Advise on models with a state: whether an error arises in a step or between steps, and what to record."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hil.advice.report_facts import listed, named, number, table
from hil.results import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.advice.report_facts import Around
    from hil.results import CheckResult

FREE, FORCED = "sequence.free_running", "sequence.teacher_forced"


def where_it_arises(check: CheckResult, around: Around) -> Iterator[str]:
    """Report whether single steps pass: if so, correct how the state is passed on, otherwise correct the step."""
    if check.id != FREE or check.verdict is not Verdict.FAILED:
        return
    other = around.judged(check, FORCED, check.precision)
    if other is None or other.verdict not in (Verdict.PASSED, Verdict.FAILED):
        return
    cause = check.details.get("cause")
    if other.verdict is Verdict.FAILED:
        place = table(table(other.details.get("diagnosis")).get("step"))
        at = f", as in step {place.get('step')} of sequence {place.get('sequence')}" if place else ""
        yield f"{FORCED} is {other.verdict.value}{at}: correct the single step first, since its error is carried on"
    elif isinstance(cause, str) and cause:
        yield f"each single step is right ({FORCED} passed): correct how the state is passed on from step to step"
    elif check.precision != "fp32":
        yield (
            f"each single step is within its tolerance ({FORCED} passed), and the errors add up: keep the nodes that "
            f"make the state in floating point, or reset the state more often"
        )


def longer_sequences(check: CheckResult, _around: Around) -> Iterator[str]:
    """State how long sequences must be to show whether a growing error exceeds its tolerance."""
    if check.id != FREE or check.verdict is not Verdict.INCONCLUSIVE:
        return
    lengths = check.details.get("lengths")
    longest = number(lengths[-1]) if isinstance(lengths, list) and lengths else None
    for row in listed(check.details.get("horizon")):
        until = number(table(row.get("growth")).get("reaches_limit_at"))
        if until is not None and longest is not None and math.isfinite(until) and until > longest:
            yield (
                f"record sequences of about {math.ceil(until):,} steps ({longest:,.0f} now): there the error of "
                f"{named(row.get('output'))} would reach its limit if it continued to grow at this rate"
            )
            return


def more_sequences(check: CheckResult, _around: Around) -> Iterator[str]:
    """Estimate how many sequences would decide a row whose interval contains the limit."""
    measured, limit = check.measurement, check.limit
    if check.id not in (FREE, FORCED) or check.verdict is not Verdict.INCONCLUSIVE:
        return
    if measured is None or limit is None or measured.high is None or not 0 <= measured.value < limit.value:
        return
    if measured.high > limit.value and measured.n > 1:
        # The width of a mean's interval falls with the square root of the number of sequences.
        times = ((measured.high - measured.value) / (limit.value - measured.value)) ** 2
        yield f"about {math.ceil(measured.n * times):,} distinct sequences would settle it; there are {measured.n:,}"


def state_kept(check: CheckResult, _around: Around) -> Iterator[str]:
    """Advise on a sequence whose outputs depend on another sequence that ran before it or at the same time."""
    if check.verdict is not Verdict.FAILED:
        return
    if check.id == "sequence.reset":
        yield "give each sequence its own state in the runtime, and set it to its first value where a sequence begins"
    elif check.id == "sequence.isolation":
        yield (
            "look for an operation over the batch axis in the model (a mean, a normalization, a reshape that mixes "
            "rows), or run one sequence per call: batch = 1"
        )


def longer_calibration(check: CheckResult, _around: Around) -> Iterator[str]:
    """Name the state that exceeds its INT8 range most, with its largest value, and advise on the calibration data."""
    states = listed(check.details.get("states"))
    if check.id != "int8.ranges" or check.verdict is not Verdict.FAILED or not states:
        return
    worst = states[0]
    top, peak = number(worst.get("top")), number(worst.get("peak"))
    if top is not None and peak is not None:
        yield (
            f"the state {named(worst.get('name'))} reaches {peak:.4g} in sequence {worst.get('sequence')}, its range "
            f"ends at {top:.4g}: put whole sequences of that length into the calibration data"
        )


RULES = (where_it_arises, longer_sequences, more_sequences, state_kept, longer_calibration)
