"""The contract: an engine does what its ONNX model declares, at every allowed shape, and refuses bad input."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hil.checks.verdicts import failed, inconclusive, judged
from hil.results import Judgement, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hil.onnx_files.signature import Signature, TensorSpec

    Profiles = Mapping[str, Sequence[Sequence[int]]]

KINDS = ("missing", "unknown", "dtype", "rank", "shape")
"""Kinds of bad input: a missing input, an unknown name, a wrong dtype, a wrong rank, a wrong size."""

NARROWED = ("int64", "int32")


def signature(
    model: Signature,
    engine: Signature,
    *,
    narrows: bool = False,
    built_for: Profiles | None = None,
) -> Judgement:
    """Judge ``contract.signature``: names (in any order), dtypes, ranks and fixed sizes equal those of the ONNX file.

    With ``narrows``, int32 in place of int64 is accepted and reported. ``built_for`` has the shapes min, opt and max of
    inputs: the engine may fix a size that is the same in all three.
    """
    sides = (("input", model.inputs, engine.inputs), ("output", model.outputs, engine.outputs))
    wrong = [line for side in sides for line in _differences(*side, built_for or {}, narrows=narrows)]
    narrowed = sorted(name for _, ours, theirs in sides if narrows for name in _narrowed(ours, theirs))
    details = {
        "model": {"inputs": [str(s) for s in model.inputs], "outputs": [str(s) for s in model.outputs]},
        "engine": {"inputs": [str(s) for s in engine.inputs], "outputs": [str(s) for s in engine.outputs]},
        "differences": wrong,
        "narrowed": narrowed,
        "separated": list(model.separated),
    }
    if not model.inputs or not model.outputs:
        return failed("the model has no inputs or no outputs", details)
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        return failed(wrong[0] + more, details)
    sizes = ((len(model.inputs), "input"), (len(model.outputs), "output"))
    counts = " and ".join(f"{size} {word}{'s' * (size != 1)}" for size, word in sizes)
    reason = f"{counts} have the names, dtypes and shapes of the model"
    if narrowed:
        reason += f"; as this runtime has no int64, int32 is accepted for {', '.join(narrowed)}"
    reason = "; ".join((reason, *model.separated))
    return judged(Verdict.PASSED, reason, details=details)


def _narrowed(model: Sequence[TensorSpec], engine: Sequence[TensorSpec]) -> list[str]:
    theirs = {spec.name: spec.dtype for spec in engine}
    return [spec.name for spec in model if (spec.dtype, theirs.get(spec.name)) == NARROWED]


def _differences(
    what: str, model: Sequence[TensorSpec], engine: Sequence[TensorSpec], built_for: Profiles, *, narrows: bool
) -> list[str]:
    excused = _narrowed(model, engine) if narrows else []
    ours, theirs = {spec.name: spec for spec in model}, {spec.name: spec for spec in engine}
    wrong = [f"{what} {name!r} of the model is not in the engine" for name in ours if name not in theirs]
    wrong += [f"{what} {name!r} of the engine is not in the model" for name in theirs if name not in ours]
    if len(theirs) != len(engine):
        wrong.append(f"the engine has an {what} name twice")
    for name in ours.keys() & theirs.keys():
        if ours[name].dtype != theirs[name].dtype and name not in excused:
            wrong.append(f"{what} {name!r} is {theirs[name].dtype} in the engine, {ours[name].dtype} in the model")
        profile = built_for.get(name, ()) if what == "input" else ()
        if not _same_shape(ours[name], theirs[name], profile, output=what == "output"):
            wrong.append(f"{what} {theirs[name]} in the engine is {ours[name]} in the model")
    return sorted(wrong)


def _same_shape(ours: TensorSpec, theirs: TensorSpec, profile: Sequence[Sequence[int]], *, output: bool) -> bool:
    """Return whether the rank and the fixed sizes of ``theirs`` (the engine's) equal those of ``ours`` (the model's).

    The engine may fix a dynamic size that has only one value in ``profile``, and any dynamic size of an output. If the
    model declares no rank, any shape is accepted.
    """
    if not ours.ranked or len(ours.shape) != len(theirs.shape):
        return not ours.ranked
    sizes = [set(axis) for axis in zip(*profile, strict=True)] or [set()] * len(ours.shape)
    return all(
        _fixed(mine) == _fixed(size) or (_fixed(mine) is None and (output or only == {size}))
        for mine, size, only in zip(ours.shape, theirs.shape, sizes, strict=True)
    )


def _fixed(size: int | str | None) -> int | None:
    return size if isinstance(size, int) and size >= 0 else None


@dataclass(frozen=True)
class ShapeTrial:
    """One run at chosen input shapes.

    Attributes:
        inputs: the input shapes by name.
        ok: whether the engine ran.
        expected: the declared output shapes; ``None`` for a dynamic size or a shape without a rank.
        outputs: the actual output shapes.
        finite: whether all outputs were finite.
        not_finite: the name of the first output with NaN or infinity; empty if all are finite.
        allowed: whether the model allows the input shapes; the engine has to refuse any others.
        error: the engine's error if it refused, otherwise empty.
    """

    inputs: Mapping[str, Sequence[int]]
    ok: bool
    expected: Mapping[str, Sequence[int | None] | None] = field(default_factory=dict)
    outputs: Mapping[str, Sequence[int]] = field(default_factory=dict)
    finite: bool = False
    not_finite: str = ""
    allowed: bool = True
    error: str = ""


def shapes(trials: Sequence[ShapeTrial], *, bounded: bool = False) -> Judgement:
    """Judge ``contract.shapes``: allowed shapes ran with finite outputs of the declared shapes, others were refused.

    ``bounded`` states that the engine accepts only certain sizes. The check is then warned instead of passed if no
    other size was tried.
    """
    details = {"trials": [{**vars(trial), "verdict": _trial(trial) or "as promised"} for trial in trials]}
    if not any(trial.allowed for trial in trials):
        return inconclusive("no shape that the model allows was tried", details=details)
    wrong = [(trial, why) for trial in trials if (why := _trial(trial))]
    if wrong:
        trial, why = wrong[0]
        return failed(f"inputs {_shown(trial.inputs)}: {why}; {len(wrong)} of {len(trials)} trials went wrong", details)
    refused = sum(not trial.allowed for trial in trials)
    reason = f"{len(trials) - refused} shapes ran as the model declares, {refused} others were refused"
    if bounded and not refused:
        what = "the sizes that the engine was built for are unknown, so no other size was tried: set shapes"
        return judged(Verdict.WARNED, f"{reason}; {what}", details=details)
    return judged(Verdict.PASSED, reason, details=details)


def _trial(trial: ShapeTrial) -> str:
    if not trial.allowed:
        return "ran, though the model does not allow it" if trial.ok else ""
    if not trial.ok:
        return f"refused ({trial.error or 'no reason given'}), though the model allows it"
    if not trial.expected or set(trial.expected) != set(trial.outputs):
        return f"gave outputs {sorted(trial.outputs)} instead of {sorted(trial.expected)}"
    for name, promised in trial.expected.items():
        came = list(trial.outputs[name])
        if promised is None:
            continue
        if len(came) != len(promised) or any(p is not None and p != c for p, c in zip(promised, came, strict=True)):
            return f"output {name!r} came as {came} instead of {list(promised)}"
    return "" if trial.finite else f"output {trial.not_finite!r} has NaN or infinity"


def _shown(inputs: Mapping[str, Sequence[int]]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in inputs.items())


@dataclass(frozen=True)
class RefusalTrial:
    """The trial of one bad input of ``kind``, with the error by which it was refused.

    ``alive`` states whether a valid input still ran afterwards, and ``after`` is its error if it did not.
    """

    kind: str
    refused: bool
    message: str = ""
    alive: bool = True
    after: str = ""


def bad_input(trials: Sequence[RefusalTrial], impossible: Mapping[str, str] | None = None) -> Judgement:
    """Judge ``contract.bad_input``: every kind of bad input was tried and refused, and the engine still runs after it.

    ``impossible`` maps each kind that does not exist for this model to the reason. Inconclusive if another kind was not
    tried, or if nothing was tried.
    """
    excused = impossible or {}
    details = {"trials": [vars(trial) for trial in trials], "impossible": dict(excused)}
    accepted = [trial for trial in trials if not trial.refused]
    if accepted:
        return failed(f"bad input ({accepted[0].kind}) was computed instead of refused", details)
    dead = [trial for trial in trials if not trial.alive]
    if dead:
        what = f"bad input ({dead[0].kind}) was refused, but a valid input no longer runs afterwards"
        return failed(f"{what}: {dead[0].after or 'no error was given'}", details)
    untried = [kind for kind in KINDS if kind not in excused and kind not in {trial.kind for trial in trials}]
    if untried:
        return inconclusive(f"bad input was not tried: {', '.join(untried)}", details=details)
    if not trials:
        return inconclusive("no bad input was tried: the model cannot have any kind of it", details=details)
    return judged(Verdict.PASSED, f"{len(trials)} bad inputs were refused", details=details)
