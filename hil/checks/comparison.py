"""``parity.outputs``: compares an engine's outputs with the reference's, first the structure, then the numbers."""

from __future__ import annotations

import math
from itertools import starmap, zip_longest
from typing import TYPE_CHECKING, Any

from hil.checks.answers import judge as judge_answers
from hil.checks.blocks import Batch, Pair, blocks, ended, form_of, rows_of, structure, together
from hil.checks.bounds import bound_of, may_be_rounding
from hil.checks.numbers import Array, Numbers, not_finite
from hil.checks.slice_rules import ACCEPT, deciding, facts_of, noise_of
from hil.checks.slices import Slices
from hil.checks.tolerances import ANSWERS, CLASSES, EXACT, UNITS, Tolerance, Where, merge, somewhere, written
from hil.checks.verdicts import failed, finite, judged
from hil.results import CLAIM, Judgement, Limit, Measurement, Sense, Verdict
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hil.checks.answers import Answers
    from hil.checks.blocks import Form, Outputs
    from hil.config.spec import Precision, TolerancesSpec

ADVICE = (
    "sound and broken engines both have such errors: declare the output's kind ([models.NAME.outputs.OUTPUT] kind), so "
    "that answers are compared, or write a tolerance slice_error"
)


class Comparison:
    """Compares outputs in blocks of batches and judges them at the end; keeps no batch in memory.

    Some errors fail the check whatever the tolerances are: wrong names, shapes, dtypes or counts, nothing to compare,
    and NaN or infinity on one side only.
    """

    def __init__(  # noqa: PLR0913 - all but the precision have a default
        self,
        precision: Precision,
        spec: TolerancesSpec | None = None,
        *,
        samples: int | None = None,
        batch: int | None = None,
        where: Where = somewhere,
        answers: Sequence[Answers] = (),
        axes: Mapping[str, int] | None = None,
        distinct: int | None = None,
        spot_check: bool = False,
    ) -> None:
        """Create an empty comparison.

        Args:
            precision: selects the default tolerances.
            spec: the tolerances of the config.
            samples: how many samples must have been compared at the end; ``None``: at least one.
            batch: how many samples a batch holds (the last may hold fewer). ``None``: the size of the first axis if all
                outputs agree on it, else 1.
            where: returns where in the config a tolerance was written.
            answers: for outputs whose kind is declared, how their answers are compared. The default tolerances do not
                apply to these outputs.
            axes: for outputs whose axis of slices is declared, that axis, counted including the samples' axis.
            distinct: how many samples are distinct, ``None`` if all are.
            spot_check: whether the samples only repeat some of a report: see ``hil.checks.answers.judge``.
        """
        self.answers, self.distinct, self.spot_check = answers, distinct, spot_check
        self.precision, self.spec, self.where = precision, spec, where
        self.expected, self.batch, self.axes = samples, batch, axes or {}
        self.samples = 0
        self.batches = 0
        self.fatal = ""
        self.numbers: dict[str, Numbers] = {}
        self._dtypes: dict[str, str] = {}
        self._form: Form | None = None

    def consume(self, reference: Iterable[Outputs], candidate: Iterable[Outputs]) -> Comparison:
        """Compare two streams of batches. The check fails if one stream ends before the other."""
        for block in blocks(starmap(Pair, zip_longest(reference, candidate))):
            self.add(block)
            if self.fatal:
                break
        return self

    def update(self, reference: Outputs, candidate: Outputs, samples: int | None = None) -> None:
        """Add the outputs of one batch; ``samples`` is the number of samples in it, ``None``: as ``batch`` states."""
        self.add([Pair(reference, candidate, samples)])

    def add(self, block: Sequence[Pair]) -> None:
        """Add the outputs of some batches, as ``update`` does for each. A batch that one side lacks fails the check."""
        alike: list[Batch] = []
        for pair in block:
            if self.fatal:
                return
            batch = self._checked(pair, alike)
            if alike and (batch is None or batch.form != alike[0].form):
                wrong, self.fatal = self.fatal, ""  # of the batches before, the first that fails gives the reason
                self._together(alike)
                self.fatal = self.fatal or wrong
                alike = []
            if batch is not None:
                alike.append(batch)
        if alike and not self.fatal:
            self._together(alike)

    def _checked(self, pair: Pair, pending: Sequence[Batch]) -> Batch | None:
        """Return ``pair`` as the batch after ``pending``; for a wrong structure set ``fatal`` and return ``None``."""
        number = self.batches + len(pending)
        before = self.samples + sum(one.rows for one in pending[:1]) * len(pending)
        if pair.reference is None or pair.candidate is None:
            self.fatal = ended(pair, number)
            return None
        ours, form = dict(pair.reference), form_of(pair.reference)
        if form != self._form or form_of(pair.candidate) != form:
            self.fatal = structure(pair.reference, pair.candidate) or self._names(ours, number)
        self._form = form
        rows = self._size(ours, before) if pair.samples is None else pair.samples
        self.fatal = self.fatal or f"batch {number} holds no sample" * (rows < 1)
        return None if self.fatal else Batch(ours, dict(pair.candidate), rows, (form, rows))

    def _together(self, alike: list[Batch]) -> None:
        """Add batches of the same names, shapes, dtypes and numbers of samples."""
        rows = alike[0].rows
        added = []
        for name in (name for name, array in alike[0].reference.items() if array.size):
            ours, theirs, numbers = together(alike, name, self.samples)
            wrong = not_finite(ours, theirs, numbers)
            if wrong and len(alike) > 1:
                for one in alike:  # one at a time, so that the first batch that differs is named
                    if not self.fatal:
                        self._together([one])
                return
            if wrong:
                self.fatal = f"output {name!r}: {wrong}"
                return
            added.append((name, ours, theirs, numbers))
        for name, ours, theirs, numbers in added:
            self.numbers[name].add(ours, theirs, numbers)
        for batch in alike:
            for answers in self.answers:
                answers.add(batch.reference, batch.candidate, rows)
        self.samples += rows * len(alike)
        self.batches += len(alike)

    def _size(self, outputs: dict[str, Array], before: int) -> int:
        if self.batch is None:
            return rows_of(outputs)
        return self.batch if self.expected is None else min(self.batch, self.expected - before)

    def _names(self, outputs: dict[str, Array], number: int) -> str:
        if not self.numbers:
            for name, axis in self.axes.items():
                rank = outputs[name].ndim if name in outputs else None
                if rank is not None and not -rank <= axis < rank:
                    return f"output {name!r} has {rank} axes, and axis {axis} is declared: correct outputs.{name}.axis"
            self.numbers = {name: Numbers(slices=Slices(self.axes.get(name))) for name in outputs}
            self._dtypes = {name: array.dtype.name for name, array in outputs.items()}
        if set(outputs) != set(self.numbers):
            return f"batch {number} has outputs {sorted(outputs)}, the first had {sorted(self.numbers)}"
        return ""

    def judge(self) -> Judgement:
        """Return passed if every output is within every bound and every configured tolerance applied to an output.

        Return inconclusive if an output exceeds only default bounds, and not by much; failed in any other case. The
        measurement is the metric that uses the largest share of its tolerance. With declared answers, return the worst
        of this judgement and theirs.
        """
        details: dict[str, Any] = {"samples": self.samples, "batches": self.batches}
        problem = self.fatal or self._incomplete()
        if problem:
            return failed(problem, details)
        rows = sorted((self._row(name) for name in self.numbers), key=lambda row: -row["use"])
        details["outputs"] = rows
        dead = next((row["dead"] for row in rows if row["dead"]), "")
        if dead:
            return self._with_answers(failed(dead, details))
        used = {bound["key"] for row in rows for bound in row["bounds"]}
        for one in self.answers:
            used |= {*ANSWERS, *(f"outputs.{name}.{metric}" for name in one.outputs for metric in ANSWERS)}
        unused = sorted(written(self.spec) - used)
        if unused:
            there = ", ".join(sorted(self.numbers))
            reason = (
                f"tolerance {unused[0]} applies to no output ({self.where(*unused[0].split('.'))}); outputs are {there}"
            )
            return failed(f"{reason}: fix or remove it", details)
        return self._with_answers(self._verdict(rows, details))

    def within(self) -> bool:
        """Return whether all samples were compared, each output is within its bounds, and all answers pass."""
        rows = [] if self.fatal or self._incomplete() else [self._row(name) for name in self.numbers]
        good = bool(rows) and all(row["met"] and not row["dead"] for row in rows)
        return good and all(one.verdict is Verdict.PASSED for one in self._judged_answers())

    def _judged_answers(self) -> list[Judgement]:
        spec, where, distinct, spot_check = self.spec, self.where, self.distinct, self.spot_check
        return [judge_answers(one, spec, where=where, distinct=distinct, spot_check=spot_check) for one in self.answers]

    def _with_answers(self, numbers: Judgement) -> Judgement:
        """Return the worst judgement of ``numbers`` and the answers."""
        if not self.answers:
            return numbers
        judgements = self._judged_answers()
        order = (Verdict.FAILED, Verdict.INCONCLUSIVE, Verdict.PASSED)
        # Of equal verdicts, min() takes the first.
        sides = [numbers, *judgements] if numbers.verdict is Verdict.FAILED else [*judgements, numbers]
        worst = min(sides, key=lambda one: order.index(one.verdict))
        details = {**numbers.details, "answers": [one.details for one in judgements]}
        claims = [one.details[CLAIM] for one in judgements if CLAIM in one.details]
        if claims and worst.verdict is Verdict.PASSED:
            details[CLAIM] = "; ".join(claims)
        return worst.model_copy(update={"details": details})

    def _incomplete(self) -> str:
        if not self.batches or not self.samples:
            return "nothing was compared: no batch was run"
        if self.expected is not None and self.samples != self.expected:
            return f"{self.samples} samples were compared, {self.expected} are declared"
        empty = [name for name, numbers in self.numbers.items() if not numbers.elements]
        what = f"has no finite element to compare in {self.samples} samples: use data for which it has some"
        return f"output {empty[0]!r} {what}" if empty else ""

    def _row(self, name: str) -> dict[str, Any]:
        numbers, dtype = self.numbers[name], self._dtypes[name]
        sides = [one for one in (numbers.slices, numbers.bare) if one is not None]
        of_sides = [facts_of(one, noise_of(self.precision, dtype)) for one in sides]
        decided = [deciding(one, single=numbers.slices.single) for one in of_sides]
        chosen = max((one for one in decided if one is not None), key=lambda one: one.largest, default=None)
        metrics = {"slice_error": None if chosen is None else chosen.largest, **numbers.metrics()}
        tolerances = merge(self.precision, self.spec, name, dtype=dtype, where=self.where)
        applicable = _applicable(tolerances, numbers)
        has_answers = any(name in one.outputs for one in self.answers)
        applicable = [one for one in applicable if not has_answers or one.key is not None]
        near = may_be_rounding(self.precision, dtype, numbers)
        bounds = [bound_of(t, metrics[t.metric], identical=numbers.identical, near=near) for t in applicable]
        bounds.sort(key=lambda bound: -bound["use"])
        # A written slice_error accepts an odd sample too. A regression's mean would hide a lost small component.
        default = any(bound["metric"] == "slice_error" and bound["key"] is None for bound in bounds)
        valued = not bounds and any(one.kind == "regression" and name in one.outputs for one in self.answers)
        texts = (one.odd_text() if default else one.lost_text() * valued for one in decided if one is not None)
        odd = next(filter(None, texts), "")
        facts = (one for axes in of_sides for one in axes)
        dead = next((f"output {name!r}: {one.dead_text()}" for one in facts if one.dead.any()), "")
        return {
            "output": name,
            "metrics": metrics,
            "slices": None if chosen is None else {**chosen.as_json(), "text": chosen.worst_text()},
            "dead": dead,
            "odd": odd,
            "worst_cosine": finite(numbers.worst_cosine),
            "worst_cosine_sample": numbers.worst_sample,
            "elements": numbers.elements,
            "bounds": bounds,
            "use": bounds[0]["use"] if bounds else 0.0 if has_answers else math.inf,
            "met": bool(bounds or has_answers) and all(bound["met"] for bound in bounds) and not odd,
            "worst": [vars(element) for element in numbers.worst],
        }

    def _verdict(self, rows: list[dict[str, Any]], details: dict[str, Any]) -> Judgement:
        out = [row for row in rows if not row["met"]]
        row = next((row for row in out if any(bound["failed"] for bound in row["bounds"])), (out or rows)[0])
        if not row["bounds"] and not out:
            return judged(Verdict.PASSED, "no number of these outputs has a tolerance", details=details)
        if row["odd"] and not row["bounds"]:
            return judged(Verdict.INCONCLUSIVE, f"output {row['output']!r}{row['odd']}: {ACCEPT}", details=details)
        if not row["bounds"]:
            return failed(f"output {row['output']!r} has no tolerance that applies to it", details)
        bound = min(row["bounds"], key=lambda bound: (not bound["failed"], bound["met"]))
        unit, value = UNITS[bound["metric"]], finite(bound["value"])
        limit = Limit(
            value=bound["limit"], unit=unit, sense=bound["sense"], source=bound["source"], fail_at=bound["fail_at"]
        )
        measurement = None if value is None else Measurement(value=value, unit=unit, n=self.samples)
        measured = "undefined" if value is None else show(value, unit)
        if value is None and not out:
            measured = "identical"
        side = "at least" if bound["sense"] is Sense.AT_LEAST else "at most"
        required = f"{side} {show(bound['limit'], unit)}"
        reason = f"output {row['output']!r}: {bound['metric']} {measured}, {required} is required"
        if not out:
            return judged(Verdict.PASSED, reason, measurement, limit, details)
        if bound["metric"] == "slice_error" and row["slices"]:
            reason += f"; {row['slices']['text']}"
        reason += row["odd"]
        if row["worst"]:
            w = row["worst"][0]
            reason += f"; worst at sample {w['sample']}, element {list(w['index'])}: "
            reason += f"obtained {w['obtained']:.6g}, expected {w['expected']:.6g}"
        reason += f"; {len(out)} of {len(rows)} outputs are out of tolerance"
        advice = CLASSES if bound["source"] == EXACT else "" if bound["failed"] else ADVICE
        reason += f": {advice}" if advice else ""
        verdict = Verdict.FAILED if bound["failed"] else Verdict.INCONCLUSIVE
        return judged(verdict, reason, measurement, limit, details)


def _applicable(tolerances: dict[str, Tolerance], numbers: Numbers) -> list[Tolerance]:
    return [t for t in tolerances.values() if t.metric != "top1_agreement" or numbers.ranked]
