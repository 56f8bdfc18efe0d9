"""The first node that differs: a suspect model against its reference, by two routes that must agree.

Marking intermediates as outputs shows where the whole engine leaves the reference, but marking changes what a
runtime fuses, and an error once made is in everything behind it. So each node is also run alone on the
reference's own values: one that errs there introduces the error, one that does not only passes it on. What
is found is confirmed by putting that one tensor right in the whole engine.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hil.diagnose import error_bounds, fusion
from hil.diagnose import suspect as cases
from hil.diagnose.causes import cause_of, difference
from hil.diagnose.diagnosis import Cause, Culprit, Diagnosis, Node, Part, Seen
from hil.diagnose.graph import BODIES, Region
from hil.diagnose.place import Place
from hil.diagnose.running import Runner, Values, on_host
from hil.diagnose.suspect import Case, feeds_of, output_errors
from hil.diagnose.tensor_error import error, statistics
from hil.diagnose.variants import patched, severed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import onnx

LISTED = 5
"""Culprits and grown tensors that are told."""

LESS = 0.1
"""Share of the precision's rounding that the outputs must err by for a node that errs and is another one."""

TRIED = 20
"""Nodes that err by themselves whose effect on the outputs is tried."""


def diagnose(
    reference: onnx.ModelProto,
    suspect: onnx.ModelProto,
    feeds: Values,
    precision: str,
    runner: Runner = on_host,
) -> Diagnosis:
    """Which node of ``reference`` the engine of ``suspect`` gets wrong on ``feeds``, if one.

    ``suspect`` is the ONNX model that the engine was built from, ``runner`` builds and runs variants of it where the
    engine runs; the reference runs on the host. ``precision`` sets what a healthy node may differ by
    (``hil.diagnose.error_bounds``). Raises ``EngineBuildError`` or ``EngineError`` where a variant cannot be run.
    """
    case = cases.opened(reference, suspect, feeds, precision, runner)
    whole = output_errors(case, runner(suspect, feeds))
    inside = cases.inside(case)
    alone = cases.alone(case, inside)
    seen = _seen(case, inside, alone)
    found = Diagnosis(
        precision=precision,
        samples=_rows(feeds),
        nodes=len(case.reference.nodes),
        looked_at=len(seen),
        outputs=whole,
        marked=output_errors(case, inside),
        first=next((one for one in seen.values() if one.whole > one.bound), None),
        grown=tuple(sorted(seen.values(), key=lambda one: -one.ratio)[:LISTED]),
        notes=tuple(_notes(case)),
    )
    guilty = _guilty(case, seen, alone)
    if not guilty:
        found = fusion.looked_for(case, found, seen, inside)
        at_fault = _overflown(case, found)
        return found if at_fault is None else replace(found, part=_part(case, at_fault, inside, alone))
    culprits = [replace(_culprit(case, region, seen[region], alone), effect=effect) for region, effect in guilty]
    region = guilty[0][0]
    confirmed = _confirmed(case, region, culprits[0], whole)
    return replace(found, culprits=(confirmed, *culprits[1:]), part=_part(case, region, inside, alone))


def _overflown(case: Case, found: Diagnosis) -> Region | None:
    """Where FP16 ends, if that is the cause: it follows from the reference's values, which the bundle then shows."""
    tensors = {one.seen.tensor for one in found.culprits if one.cause is Cause.OVERFLOW}
    return next((region for region in case.regions if region.pair.reference in tensors), None)


def _rows(feeds: Values) -> int:
    first = next(iter(feeds.values()))
    return len(first) if first.ndim else 1


def _seen(case: Case, inside: Values, alone: Values) -> dict[Region, Seen]:
    bounds = cases.bounds(case)
    found = {}
    for region in case.regions:
        name = region.pair.suspect
        if name not in alone:
            continue
        value = case.value(name)
        found[region] = Seen(
            tensor=region.pair.reference,
            node=node_of(case, region),
            alone=error(cases.kept(case, region, value), cases.kept(case, region, alone[name])),
            bound=bounds[name],
            whole=error(value, inside[name]) if name in inside else math.inf,
        )
    return found


def node_of(case: Case, region: Region) -> Node:
    """The reference's node that a region stands for; of a Q/DQ pair the one that makes the tensor."""
    graph = case.reference
    number = graph.makers.get(region.pair.reference)
    if number is None:
        return Node(region.pair.reference, "input", 0, len(graph.nodes))
    return Node(graph.label(number), graph.nodes[number].op_type, number + 1, len(graph.nodes))


def _guilty(case: Case, seen: Mapping[Region, Seen], alone: Values) -> list[tuple[Region, float]]:
    """The regions that make the outputs err, the worst first, each with the outputs' error.

    Tried are those that err by themselves, and those that the two graphs have otherwise, whose error may hide in the
    rounding of the precision. A range that clips what a ReLU behind it drops anyway harms nobody, so the outputs must
    err by more than that rounding; by a tenth of it where a node errs and is another one, or a range is mostly unused.
    """
    floor = error_bounds.FLOORS[case.precision]
    tried: list[tuple[float, Region, float]] = []
    for region, one in seen.items():
        differs = difference(_place(case, region, alone)) is not None
        if one.ratio > 1 or differs:
            other = differs or (region.pair.quantized and one.bound < error_bounds.CLIPPING)
            tried.append((min(max(one.ratio, 1.0), 1e12), region, LESS * floor if other and one.ratio > 1 else floor))
    tried.sort(key=lambda one: -one[0])
    effects = [(region, _effect(case, region, alone[region.pair.suspect]), least) for _, region, least in tried[:TRIED]]
    guilty = [(region, effect) for region, effect, least in effects if effect > least]
    return sorted(guilty, key=lambda one: -one[1])[:LISTED]


def _place(case: Case, region: Region, alone: Values) -> Place:
    name = region.pair.suspect
    entering = frozenset(one for one in region.takes if case.meaning.get(one, one) in case.reference.inputs)
    return Place(case.reference, case.suspect, region, case.precision, case.value(name), alone[name], entering)


def _effect(case: Case, region: Region, value: np.ndarray) -> float:
    """The error of the reference's outputs with only this tensor as the engine makes it."""
    name = region.pair.reference
    wanted = case.expected[name]
    if value.shape != wanted.shape:
        return math.inf
    ends = [one for one in case.reference.outputs if one != name and one in case.expected]
    own = error(wanted, value) if name in case.reference.outputs else 0.0
    if not ends:
        return own
    with np.errstate(over="ignore"):
        feeds = {**case.feeds, name: value.astype(wanted.dtype)}
    got = on_host(patched(case.reference, name, wanted, ends), feeds)
    return max(own, *(error(case.expected[one], got[one]) for one in ends))


def _culprit(case: Case, region: Region, seen: Seen, alone: Values) -> Culprit:
    name = region.pair.suspect
    place = _place(case, region, alone)
    cause, evidence = cause_of(place, {each: case.value(each) for each in region.takes})
    return Culprit(
        seen=seen,
        cause=cause,
        evidence=tuple(evidence),
        suspect_nodes=tuple(case.suspect.label(number) for number in region.nodes),
        reference=statistics(case.value(name)),
        engine=statistics(alone[name]),
    )


def _confirmed(case: Case, region: Region, culprit: Culprit, whole: Mapping[str, float]) -> Culprit:
    """The culprit with the outputs' error before and after its tensor alone is put right."""
    before = max(whole.values(), default=0.0)
    name = region.pair.suspect
    if name in case.suspect.outputs:
        rest = [one for output, one in whole.items() if output != name]
        return replace(culprit, before=before, after=max(rest, default=0.0))
    value = case.value(name)
    feeds = {**case.feeds, name: value}
    after = output_errors(case, case.runner(patched(case.suspect, name, value), feeds))
    return replace(culprit, before=before, after=max(after.values(), default=0.0))


def _part(case: Case, region: Region, inside: Values, alone: Values) -> Part:
    """The region taken out of both graphs, with what it takes and what it should give and gives."""
    name, meant = region.pair.suspect, region.pair.reference
    feeds = feeds_of(case, [region], inside)
    model = severed(case.suspect, [region], feeds)
    reference = None
    if region.origin:
        theirs = {
            meant: case.expected[meant],
            **{n: case.expected[n] for n in case.expected if n in _all(case, region)},
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


def _all(case: Case, region: Region) -> tuple[str, ...]:
    cut = frozenset(one.pair.reference for one in case.regions) - {region.pair.reference}
    return case.reference.between(region.pair.reference, cut)[1]


def _notes(case: Case) -> Iterable[str]:
    bodies = [case.suspect.label(number) for number, node in enumerate(case.suspect.nodes) if node.op_type in BODIES]
    if bodies:
        yield f"not looked into the bodies of {', '.join(bodies[:LISTED])}: each is taken as one node"
    lost = len(case.reference.varying) - len(case.reference.inputs) - len({r.pair.reference for r in case.regions})
    if lost > 0:
        yield f"{lost} tensors of the model are not in the engine's graph by name: they are within the nodes named"
