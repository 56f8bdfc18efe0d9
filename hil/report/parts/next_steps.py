"""State what to do about a row that did not pass, where no advice was computed from its numbers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hil.results import Verdict

if TYPE_CHECKING:
    from hil.results import CheckResult

NEXT = {
    "deselected": "run without -k, -m, --lf or node ids: deselected checks stay planned",
    "not_collected": "restore the test file, or run the whole suite",
    "out_of_scope": "run without --hil-model",
    "unsupported": "do what the reason names, or remove the precision from hil.toml for this target",
    "fallback": "make TARGET reachable as configured in [targets.TARGET] of hil.toml, or use another target",
    "crashed": "see the worker's last output above; run this test alone, with --hil-model",
    "stopped": "do what the reason names, and run again",
    "no_result": "make the test call hil_check.judge() exactly once on every path",
    "no_limit": "add the limit to hil.toml, or remove the check from gate.require",
    "no_baseline": "name a comparable baseline, or create one, as the reason states",
}
HINT = {
    "parity.data": "set data of [models.NAME] to real validation data that was not used for training",
    "parity.task": "see which samples went wrong; if you loosen a tolerance in hil.toml, state the reason next to it",
    "contract.signature": "if hil.toml names engine or deployed, generate that file again from the one at path; "
    "otherwise repair the declaration that the reason names",
    "contract.shapes": "declare the sizes that the network accepts: shape under [models.NAME.inputs.INPUT] in hil.toml",
    "contract.bad_input": "check inputs in the code that calls the engine, so that it never gets a bad one",
    "contract.isaac_ros": "correct the file of the node's parameters as the reason states",
    "parity": "start with the worst output; if you loosen a tolerance in hil.toml, state the reason next to it",
    "int8.calibration_set": "fix the calibration data as the reason states; hil int8 audit checks it alone",
    "int8.ranges": "calibrate on data like the validation data, or by another method; hil int8 audit lists each tensor",
    "int8.repeatable": "remove the folder 'quantized' in the cache that hil.toml names, and calibrate again",
    "int8.disjoint": "take calibration data from samples outside the validation data, e.g. from the training data",
    "int8.drop": "rank the layers with hil int8 sensitivity, and leave the worst in floating point",
    "int8": "check the calibration data, or exclude sensitive layers with calibration.exclude_nodes",
    "property": "see the input that the reason names, and find the node at fault with hil diagnose",
    "paced": "see the response times in report.html; then speed the model up, or change the rate or the limit",
    "sustained": "see clocks and temperatures in report.html; then cool the board, or change the model or the limit",
    "energy": "use a lower precision, a smaller model or a lower power mode, or change the limit",
    "placement": "see the layers in report.html; replace layers that DLA or INT8 does not support, or change the limit",
    "latency": "see the slowest nodes and the board's clocks; then change the model or the limit",
    "fps": "see the slowest nodes and the board's clocks; then change the model or the target rate",
    "memory": "reduce the batch size, the workspace or the model; the limit is in hil.toml",
    "regression": "see what changed since the baseline (hil compare); if the change is intended, run hil accept",
}
HINT["sequence"] = HINT["parity"]
NOT_FINITE = re.compile(r"has NaN or infinity|elements not finite")
"""What the reasons of contract and property checks say of such outputs."""

TIMED = frozenset({"latency", "fps", "memory", "paced", "sustained", "energy"})
"""Families in which a longer measurement may settle an inconclusive row."""


def family(check: CheckResult) -> str:
    """Return the family of a check: ``latency`` for ``latency.p99``."""
    return check.id.split(".", 1)[0]


def cause_key(check: CheckResult) -> str | None:
    """Return the row's cause code, or ``None`` if it has none."""
    return check.cause.value if check.cause else None


def _settle(check: CheckResult) -> str:
    """Return general advice on how to settle an inconclusive row."""
    of_samples = family(check) in {"parity", "sequence"} or check.id == "int8.drop"
    if of_samples and (check.measurement is not None or check.id not in {"parity.task", "int8.drop"}):
        kind = ", or write what the outputs mean: kind in [models.NAME.outputs.OUTPUT]"
        return "validate with more samples" + kind * ("answers" not in check.details)
    if family(check) == "placement":
        return "the engine inspector lacks the details: see the layers in report.html, or remove the limit"
    if family(check) == "memory" and check.measurement is None and "not readable" in check.reason:
        return "make the memory figures readable on the target (docs/tensorrt.md)"
    if family(check) in TIMED or check.id == "int8.speedup":
        return "measure longer ([measure] in hil.toml), or stop what disturbs the target"
    return "do what the reason names, and run again"


def next_steps(check: CheckResult) -> tuple[str, ...]:
    """Return what to do about a row that did not pass: its own advice or, if it has none, the general ``next_step``.

    A row whose model could not be built or run gets only its own advice.
    """
    return check.advice if check.advice or check.details.get("no_engine") else (next_step(check),)


def next_step(check: CheckResult) -> str:
    """Return the general advice for a row: by its cause; without a cause, by its verdict, id and family."""
    return _general(check).replace("[models.NAME", f"[models.{check.model or 'NAME'}")


def _general(check: CheckResult) -> str:
    if check.reason.startswith("stopping after"):  # pytest's own words
        return "run again without -x and --maxfail"
    if family(check) in {"contract", "property"} and NOT_FINITE.search(check.reason):
        return (
            "find where it begins with hil diagnose; where the reference gives the same, as with a mask of -inf, "
            "export the model with finite values such as -1e4"
        )
    if "element to compare" in check.reason:
        return "set data of [models.NAME] to samples for which the output has elements"
    if (cause := cause_key(check)) in NEXT:
        return NEXT[cause].replace("TARGET", check.target.requested)
    if check.verdict is Verdict.INCONCLUSIVE:
        return _settle(check)
    own = f"see in {check.test}, the test that gave this verdict, what it requires" if check.test else "see its test"
    return HINT.get(check.id) or HINT.get(family(check), own)
