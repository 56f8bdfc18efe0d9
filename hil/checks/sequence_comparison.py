"""``sequence.teacher_forced`` and ``sequence.free_running``: compares sequences, the unit of all statistics."""

from __future__ import annotations

import math
import re
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from hil.checks.clipped_state import StateRange
from hil.checks.comparison import ADVICE
from hil.checks.step_errors import StepErrors, first_not_finite
from hil.checks.task import CONFIDENCE
from hil.checks.tolerances import merge
from hil.checks.verdicts import failed, finite, hold_interval, inconclusive, judged, plain
from hil.results import Judgement, Limit, Measurement, Sense, Verdict
from hil.stats import growth, independent_mean
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hil.checks.blocks import Outputs
    from hil.checks.comparison import Comparison

FEW = 3
"""The fewest sequences in which inputs and outputs vary; the interval of fewer is not meaningful."""

AHEAD = 10
"""An error that grows must stay within its tolerance for this many times the longest sequence."""

LONGER = "give longer sequences, as long as the robot runs without a reset, or reset the state on the robot"
ORDER = (Verdict.FAILED, Verdict.INCONCLUSIVE, Verdict.PASSED)


class SequenceComparison:
    """Compares the outputs of an engine with the reference's, one whole sequence at a time, and judges at the end.

    The steps of all sequences are compared by one ``Comparison``. The error at the end of the sequences and its growth
    are judged in addition.
    """

    def __init__(
        self,
        steps: Comparison,
        *,
        sequences: int | None = None,
        grows: bool = True,
        lost: Mapping[str, Comparison] | None = None,
        states: Mapping[str, str] | None = None,
    ) -> None:
        """Create an empty comparison.

        Args:
            steps: the comparison of the steps, in which nothing was compared yet. Its ``distinct`` is the number of
                distinct sequences, and the axes of its slices are counted with the steps' axis.
            sequences: how many sequences must have been compared at the end; ``None``: at least one.
            grows: whether the growth of the error is judged, as for an engine that is fed with its own state.
            lost: for each carried input, an empty comparison, which ``without`` fills.
            states: each carried input with the output that it is fed from.
        """
        self.steps, self.expected, self.grows = steps, sequences, grows
        self.fatal = ""
        self.cause = ""
        self.lengths: list[int] = []
        self.live = 0
        self._answered = {name for one in steps.answers for name in one.outputs}
        self._errors: dict[str, StepErrors] = {}
        self._limits: dict[str, Limit] = {}
        self._without = lost or {}
        self._ranges = {output: (name, StateRange()) for name, output in (states or {}).items()}

    def update(self, reference: Outputs, candidate: Outputs, *, still: bool = False) -> None:
        """Add the outputs of one sequence, ``[steps, …]`` each.

        ``still`` states that the inputs of the sequence are equal in all steps.
        """
        if self.fatal:
            return
        number, count = len(self.lengths), len(reference[0][1]) if reference else 0
        short = next((len(array) for _, array in candidate if len(array) != count), count)
        if short != count:
            self.cause = f"the last {count - short} steps are missing" if short < count else "there are more steps"
            self.fatal = f"sequence {number} has {count} steps, the engine returned {short}: {self.cause}"
            return
        theirs = dict(candidate)
        for name, array in reference:
            step = first_not_finite(array, theirs[name]) if name in theirs else None
            if step is not None:
                self.cause = f"NaN or infinity from step {step} on"
                self.fatal = f"output {name!r} has NaN or infinity from step {step} of sequence {number} on"
                return
        self.steps.update(reference, candidate, samples=count)
        if self.steps.fatal:
            self.fatal = f"sequence {number}: {self.steps.fatal}"
            return
        varies = [self._of(name, array).add(number, array, theirs[name]) for name, array in reference]
        for name, array in reference:
            if name in self._ranges:
                self._ranges[name][1].add(array, theirs[name])
        self.lengths.append(count)
        self.live += any(varies) and not still

    def without(self, state: str, reference: Outputs, lost: Outputs) -> None:
        """Add the reference's outputs of one sequence, and ``lost``, its outputs with ``state`` held at its start."""
        self._without[state].update(reference, lost, samples=len(reference[0][1]))

    def _of(self, name: str, array: Any) -> StepErrors:
        if name not in self._errors:
            bounds = merge(self.steps.precision, self.steps.spec, name, dtype=array.dtype.name, where=self.steps.where)
            bound = bounds.get("slice_error")
            if bound is not None and (name not in self._answered or bound.key is not None):
                self._limits[name] = Limit(
                    value=bound.value, unit="1", sense=Sense.AT_MOST, source=bound.source, fail_at=bound.fail_at
                )
            threshold = math.inf if bound is None else bound.value if bound.fail_at is None else bound.fail_at
            self._errors[name] = StepErrors(threshold)
        return self._errors[name]

    def judge(self, explain: Callable[[], str] | None = None) -> Judgement:
        """Return the judgement of the sequences: the worst of the judgements listed here.

        ``Comparison`` judges the steps. The error at the end of the sequences must be within the tolerance
        ``slice_error``, and must not be about to exceed it by growing. Inconclusive if fewer than three sequences vary,
        if a state could be lost without a change of the outputs, or if the engine clips a state by more than a tenth
        of its range. Unless the verdict is passed, the text that ``explain`` returns is added to the reason: the fault
        in handling a state, or an empty text; then the state that is clipped is named.
        """
        judgement = self._judged()
        cause = "" if explain is None or judgement.verdict is Verdict.PASSED else explain()
        cause = cause or ("" if self.fatal else judgement.details["cause"])
        if not cause or cause in judgement.reason:
            return judgement
        update = {"reason": f"{judgement.reason}; as if {cause}", "details": {**judgement.details, "cause": cause}}
        return judgement.model_copy(update=update)

    def _judged(self) -> Judgement:
        details = self._details()
        count = len(self.lengths)
        if not self.fatal and self.expected is not None and count != self.expected:
            self.fatal = f"{count} sequences were compared, {self.expected} are declared"
        if self.fatal or not count:
            return failed(self.fatal or "nothing was compared: no sequence was run", details)
        steps = self.steps.judge()
        rows = [self._horizon(name) for name in self._limits if self._errors[name].horizon]
        details["horizon"] = [{"output": name, **facts} for name, _, facts in rows]
        clipped = self._clipped()
        judgements = [steps, *(judgement for _, judgement, _ in rows), *self._shown(), *clipped]
        worst = min(judgements, key=lambda one: ORDER.index(one.verdict))
        if clipped:
            details["cause"] = (worst if worst in clipped else clipped[0]).reason.partition(",")[0]
        measured = next((one for one in judgements[1:] if one.measurement is not None), steps)
        if worst.measurement is None and worst.verdict is not Verdict.FAILED:
            worst = worst.model_copy(update={"measurement": measured.measurement, "limit": measured.limit})
        reason = self._located(worst.reason)
        if worst.verdict is Verdict.PASSED:
            worst = worst.model_copy(update={"measurement": measured.measurement, "limit": measured.limit})
            reason = f"{self._located(measured.reason)}; {count} sequences of {self._span()} steps"
        elif (first := self.first()) is not None:
            name, sequence, step = first
            reason += f"; output {name!r} is first beyond its tolerance in sequence {sequence} at step {step}"
        return worst.model_copy(update={"reason": reason, "details": {**steps.details, **plain(details)}})

    def _details(self) -> dict[str, Any]:
        first = self.first()
        return {
            "sequences": len(self.lengths),
            "varying": self.live,
            "lengths": [min(self.lengths, default=0), max(self.lengths, default=0)],
            "first_beyond": None if first is None else dict(zip(("output", "sequence", "step"), first, strict=True)),
            "curve": {name: one.curve() for name, one in self._errors.items() if one.curves},
            "cause": self.cause,
        }

    def first(self) -> tuple[str, int, int] | None:
        """Return output, sequence and step of the first error that is beyond its tolerance; ``None`` without one."""
        found = [(name, *one.beyond) for name, one in self._errors.items() if name in self._limits and one.beyond]
        return min(found, key=lambda one: one[1:], default=None)

    def _span(self) -> str:
        low, high = min(self.lengths), max(self.lengths)
        return str(low) if low == high else f"{low} to {high}"

    def _located(self, text: str) -> str:
        """Return ``text`` with each "sample N" replaced by its step and sequence."""
        ends = list(accumulate(self.lengths))

        def place(match: re.Match[str]) -> str:
            number = int(match[1])
            sequence = next((at for at, end in enumerate(ends) if number < end), None)
            if sequence is None:
                return match[0]
            return f"step {number - ends[sequence] + self.lengths[sequence]} of sequence {sequence}"

        return re.sub(r"\bsample (\d+)\b", place, text)

    def _horizon(self, name: str) -> tuple[str, Judgement, dict[str, Any]]:
        """Judge the error of output ``name`` at the end of the sequences, and its growth.

        Return the name, the judgement, and the facts for the details.
        """
        errors, limit = self._errors[name], self._limits[name]
        count = len(errors.horizon)
        worth = count if self.steps.distinct is None else min(count, self.steps.distinct)
        mean, low, high = independent_mean(errors.horizon, CONFIDENCE, worth)
        low = max(low, 0.0)
        measurement = Measurement(
            value=mean, unit="1", low=finite(low), high=finite(high), confidence=CONFIDENCE, n=worth
        )
        advice = f"{worth} sequences are too few, or the error is at its limit: {ADVICE}"
        judgement = hold_interval(measurement, limit, advice)
        reason = f"output {name!r}: error at the end of the sequences {judgement.reason}"
        verdict = judgement.verdict
        if verdict is Verdict.WARNED:
            verdict, reason = Verdict.INCONCLUSIVE, f"{reason}: {ADVICE}"
        facts: dict[str, Any] = {"value": mean, "low": low, "high": high, "limit": limit.value, "sequences": worth}
        if self.grows:
            rate = growth(errors.curves, CONFIDENCE, worth, errors.lengths)
            longest = max(errors.lengths)
            until = rate.steps_until(limit.value, mean, longest)
            facts["growth"] = {**vars(rate), "reaches_limit_at": until}
            if verdict is Verdict.PASSED and until < AHEAD * longest:
                what = f"grows ({rate.kind}) and would reach {show(limit.value, '1')} near step {until:.0f}"
                verdict = Verdict.INCONCLUSIVE
                reason = f"output {name!r}: the error, {show(mean, '1')} after {longest} steps, {what}: {LONGER}"
        return name, judged(verdict, reason, measurement, limit), facts

    def _clipped(self) -> list[Judgement]:
        """Return an inconclusive judgement for each state that the engine clips: longer sequences may clip it more."""
        found = ((name, range_.clips_at()) for name, range_ in self._ranges.values())
        return [
            inconclusive(
                f"the state {name!r} clips at {one[0]:.4g}, which the engine returned {one[2]} times; the reference "
                f"reaches {one[1]:.4g}: calibrate int8 with sequences as long as the robot runs without a reset"
            )
            for name, one in found
            if one is not None
        ]

    def _shown(self) -> list[Judgement]:
        """Return an inconclusive judgement for each reason why agreement on this data proves nothing; empty if none."""
        result = []
        live = self.live if self.steps.distinct is None else min(self.live, self.steps.distinct)
        if live < FEW:
            result.append(
                inconclusive(
                    f"inputs and outputs change from step to step in {live} of {len(self.lengths)} sequences (copies "
                    f"count once), {FEW} are needed: add sequences in which something happens"
                )
            )
        for state, one in self._without.items():
            if not one.batches or one.within():
                result.append(
                    inconclusive(
                        f"an engine that loses the state {state!r} would give the same outputs within their "
                        "tolerances: give sequences in which the state matters, or check carry of this input"
                    )
                )
        return result
