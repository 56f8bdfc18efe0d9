"""Finds the nodes that introduce an error in a suspect model, compared with its reference.

The suspect is the ONNX model that the engine was built from, the reference is the original model. Each node is run
alone on the reference's values. The node at fault, the culprit, is confirmed by correcting only its tensor in the whole
engine.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from hil.diagnose import error_bounds, fusion
from hil.diagnose import suspect as cases
from hil.diagnose.causes import cause_of, difference
from hil.diagnose.diagnosis import Cause, Culprit, Diagnosis, Node, NodeErrors, Part
from hil.diagnose.graph import BODIES, Region
from hil.diagnose.place import Place
from hil.diagnose.running import Runner, Values, on_host
from hil.diagnose.signal_end import signal_end
from hil.diagnose.suspect import Case, Stands, feeds_of, output_errors
from hil.diagnose.tensor_error import error, slice_error, statistics
from hil.diagnose.variants import patched, severed
from hil.errors import HilError, LabError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import onnx

LISTED = 5
"""Largest number of culprits, and of tensors in ``grown``, that are reported."""

LESS = 0.1
"""The smallest effect on the outputs, as a share of the error floor, by which a node with strong evidence is at fault.

Strong evidence is an error above the bound, with a difference between the graphs or a badly used INT8 range.
"""

LOST = 0.5
"""Share of a slice's own deviation above which its error makes a Q/DQ pair suspicious (``slice_error``)."""

MORE = 4.0
"""The same, as a multiple of the error floor, for a node whose only evidence is a lost slice.

Sound INT8 engines lose some slices too. So the outputs must also fail (``Case.stands``): an inconclusive error does not
distinguish a sound engine from a broken one.
"""

ALIKE = 0.9
"""Effects of at least this share of the largest effect count as equal to it: lost outputs have errors of about 1."""

TRIED = 20
"""Largest number of suspicious nodes whose effect on the outputs is measured."""


def diagnose(  # noqa: PLR0913 - the two models, the inputs and how they are judged
    reference: onnx.ModelProto,
    suspect: onnx.ModelProto,
    feeds: Values,
    precision: str,
    runner: Runner = on_host,
    *,
    stands: Stands = cases.never,
) -> Diagnosis:
    """Return which nodes of ``reference`` the engine of ``suspect`` gets wrong on the inputs ``feeds``.

    ``suspect`` is the ONNX model that the engine was built from; ``runner`` builds and runs variants of it.
    ``precision`` sets the allowed errors (``hil.diagnose.error_bounds``), ``stands`` is that of ``Case``. Raise
    ``EngineBuildError`` or ``EngineError`` if a variant cannot be built or run, and ``LabError`` if the target is lost.
    """
    case = replace(cases.make_case(reference, suspect, feeds, precision, runner), stands=stands)
    outputs = runner(suspect, feeds)
    inside = cases.intermediate_values(case)
    alone = cases.isolated_values(case, inside)
    errors = _node_errors(case, inside, alone)
    diagnosis = Diagnosis(
        precision=precision,
        samples=_rows(feeds),
        nodes=len(case.reference.nodes),
        looked_at=len(errors),
        outputs=output_errors(case, outputs),
        marked=output_errors(case, inside),
        first=next((node for node in errors.values() if node.whole > node.bound), None),
        grown=tuple(sorted(errors.values(), key=lambda node: -node.ratio)[:LISTED]),
        notes=tuple(_notes(case)),
    )
    diagnosis = _with_culprits(case, diagnosis, errors, inside, alone)
    return _with_signal_end(case, diagnosis, outputs, inside)


def _with_culprits(
    case: Case, diagnosis: Diagnosis, errors: Mapping[Region, NodeErrors], inside: Values, alone: Values
) -> Diagnosis:
    guilty = _guilty(case, errors, alone)
    if not guilty:
        diagnosis = fusion.with_fusion(case, diagnosis, errors, inside)
        at_fault = _overflowing_region(case, diagnosis)
        return diagnosis if at_fault is None else replace(diagnosis, part=_part(case, at_fault, inside, alone))
    culprits = [replace(_culprit(case, region, errors[region], alone), effect=effect) for region, effect in guilty]
    region = guilty[0][0]
    confirmed = _confirmed(case, region, culprits[0], diagnosis.outputs)
    return replace(diagnosis, culprits=(confirmed, *culprits[1:]), part=_part(case, region, inside, alone))


def _with_signal_end(case: Case, diagnosis: Diagnosis, outputs: Values, inside: Values) -> Diagnosis:
    """Return the diagnosis with the node at which the signal ends; if a variant fails, with a note instead.

    Raise ``LabError`` if the target is lost.
    """
    try:
        return replace(diagnosis, signal_end=signal_end(case, outputs, inside, partial(node_of, case)))
    except LabError:
        raise
    except HilError as error:  # the culprits that were found are worth more than this
        note = f"where the signal ends was not found: {error}"
        return replace(diagnosis, notes=(*diagnosis.notes, note))


def _overflowing_region(case: Case, diagnosis: Diagnosis) -> Region | None:
    """Return the first region that computes the tensor of a culprit with an FP16 overflow; ``None`` without one."""
    tensors = {culprit.seen.tensor for culprit in diagnosis.culprits if culprit.cause is Cause.OVERFLOW}
    return next((region for region in case.regions if region.pair.reference in tensors), None)


def _rows(feeds: Values) -> int:
    first = next(iter(feeds.values()))
    return len(first) if first.ndim else 1


def _node_errors(case: Case, inside: Values, alone: Values) -> dict[Region, NodeErrors]:
    bounds = cases.bounds(case)
    errors = {}
    for region in case.regions:
        name = region.pair.suspect
        if name not in alone:
            continue
        value = case.value(name)
        errors[region] = NodeErrors(
            tensor=region.pair.reference,
            node=node_of(case, region),
            alone=error(cases.relevant_values(case, region, value), cases.relevant_values(case, region, alone[name])),
            bound=bounds[name],
            whole=error(value, inside[name]) if name in inside else math.inf,
        )
    return errors


def node_of(case: Case, region: Region) -> Node:
    """Return the reference's node that makes the region's tensor; for an input of the model, a node at position 0."""
    graph = case.reference
    number = graph.makers.get(region.pair.reference)
    if number is None:
        return Node(region.pair.reference, "input", 0, len(graph.nodes))
    return Node(graph.label(number), graph.nodes[number].op_type, number + 1, len(graph.nodes))


def _guilty(case: Case, errors: Mapping[Region, NodeErrors], alone: Values) -> list[tuple[Region, float]]:
    """Return at most ``LISTED`` regions at fault, worst first, each with the error that it alone causes in the outputs.

    Of regions with about the largest error, the first in the model is first.
    """
    floor = error_bounds.FLOORS[case.precision]
    tried: list[tuple[float, Region, float, bool]] = []
    for region, node in errors.items():
        differs = difference(_place(case, region, alone)) is not None
        if node.ratio > 1 or differs or _loses_slice(case, region, alone):
            # Strong evidence: the region's error exceeds its bound, and it differs or uses little of its INT8 range.
            strict = node.ratio > 1 and (differs or (region.pair.quantized and node.bound < error_bounds.CLIPPING))
            more = not (node.ratio > 1 or differs)
            share = LESS if strict else MORE if more else 1
            tried.append((min(max(node.ratio, 1.0), 1e12), region, share * floor, more))
    tried.sort(key=lambda candidate: -candidate[0])
    guilty = []
    for _, region, least, more in tried[:TRIED]:
        effect, stands = cases.effect(case, region, alone[region.pair.suspect])
        if effect > least and not (more and stands):
            guilty.append((region, effect))
    # The ranges after a node whose constants differ were calibrated on what it computes: they follow from it.
    changed = {region.pair.suspect for region, _ in guilty if difference(_place(case, region, alone)) is not None}
    worst = max((effect for _, effect in guilty), default=0.0)

    def rank(pair: tuple[Region, float]) -> tuple[bool, bool, float]:
        region, effect = pair
        alike = effect >= ALIKE * worst
        return _follows(case, region, changed), not alike, node_of(case, region).position if alike else -effect

    return sorted(guilty, key=rank)[:LISTED]


def _follows(case: Case, region: Region, changed: set[str]) -> bool:
    """Return whether a Q/DQ pair's tensor depends on one of ``changed``; always false for other regions."""
    takes = {one.pair.suspect: one.takes for one in case.regions}
    known: set[str] = set()
    waiting = list(region.takes) if region.pair.quantized and changed else []
    while waiting:
        name = waiting.pop()
        if name not in known:
            known.add(name)
            waiting += takes.get(name, ())
    return not known.isdisjoint(changed)


def _loses_slice(case: Case, region: Region, alone: Values) -> bool:
    """Return whether a Q/DQ pair loses most of a slice of its tensor."""
    name = region.pair.suspect
    return region.pair.quantized and slice_error(case.value(name), alone[name], 1e-6) > LOST


def _place(case: Case, region: Region, alone: Values) -> Place:
    name = region.pair.suspect
    entering = frozenset(source for source in region.takes if case.meaning.get(source, source) in case.reference.inputs)
    return Place(case.reference, case.suspect, region, case.precision, case.value(name), alone[name], entering)


def _culprit(case: Case, region: Region, errors: NodeErrors, alone: Values) -> Culprit:
    name = region.pair.suspect
    place = _place(case, region, alone)
    cause, evidence = cause_of(place)
    return Culprit(
        seen=errors,
        cause=cause,
        evidence=tuple(evidence),
        suspect_nodes=tuple(case.suspect.label(number) for number in region.nodes),
        reference=statistics(case.value(name)),
        engine=statistics(alone[name]),
    )


def _confirmed(case: Case, region: Region, culprit: Culprit, whole: Mapping[str, float]) -> Culprit:
    """Return the culprit with ``before``, the error of the engine's outputs, and ``after``, measured here.

    For ``after``, the whole engine runs with only the culprit's tensor corrected; ``None`` if that run fails. ``whole``
    are the errors of the engine's outputs by name.
    """
    before = max(whole.values(), default=0.0)
    name = region.pair.suspect
    if name in case.suspect.outputs:
        rest = [off for output, off in whole.items() if output != name]
        return replace(culprit, before=before, after=max(rest, default=0.0))
    value = case.value(name)
    feeds = {**case.feeds, name: value}
    try:
        after = output_errors(case, case.runner(patched(case.suspect, name, value), feeds))
    except LabError:
        raise
    except HilError:  # e.g. the right value has another shape, which the rest of the engine cannot take
        return replace(culprit, before=before)
    return replace(culprit, before=before, after=max(after.values(), default=0.0))


def _part(case: Case, region: Region, inside: Values, alone: Values) -> Part:
    """Return the region as models of its own, from the engine's graph and from the reference's (``Part``).

    ``inside`` are the values in the whole engine, ``alone`` those of each region run on its own.
    """
    name, meant = region.pair.suspect, region.pair.reference
    feeds = feeds_of(case, [region], inside)
    model = severed(case.suspect, [region], feeds, dtypes=case.dtypes)
    reference = None
    if region.origin:
        theirs = {
            meant: case.expected[meant],
            **{n: case.expected[n] for n in case.expected if n in _reference_inputs(case, region)},
        }
        reference = severed(case.reference, [region], theirs, "reference")
        feeds = {**theirs, **feeds}
    needed = {value.name for proto in (model, reference) if proto is not None for value in proto.graph.input}
    out = model.graph.output[0].name
    return Part(
        model=model,
        reference=reference,
        feeds={key: array for key, array in feeds.items() if key in needed},
        expected={out: case.value(name)},
        obtained={out: alone[name]},
    )


def _reference_inputs(case: Case, region: Region) -> tuple[str, ...]:
    cut = frozenset(other.pair.reference for other in case.regions)
    return case.reference.between(region.pair.reference, cut)[1]


def _notes(case: Case) -> Iterable[str]:
    bodies = [case.suspect.label(number) for number, node in enumerate(case.suspect.nodes) if node.op_type in BODIES]
    if bodies:
        yield f"the bodies of {', '.join(bodies[:LISTED])} were not examined: each counts as one node"
    lost = len(case.reference.varying) - len(case.reference.inputs) - len({r.pair.reference for r in case.regions})
    if lost > 0:
        yield (
            f"the engine's graph lacks {lost} tensor names of the model: "
            "errors there are reported at the next tensor that both graphs name"
        )
