"""The first node that differs: a suspect model against its reference, by two routes that must agree.

Marking intermediates as outputs shows where the whole engine leaves the reference, but marking changes what a
runtime fuses, and an error once made is in everything behind it. So each node is also run alone on the
reference's own values: one that errs there introduces the error, one that does not only passes it on. What
is found is confirmed by putting that one tensor right in the whole engine.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from hil.diagnose import healthy
from hil.diagnose.causes import Place, cause_of, scale_of
from hil.diagnose.cutting import OWN, marked, patched, severed, types_of
from hil.diagnose.fusion import cured_by
from hil.diagnose.graph import BODIES, Graph, Region, pairs, regions
from hil.diagnose.running import Runner, Values, on_host, portions
from hil.diagnose.seeing import error, largest, statistics
from hil.diagnose.types import Cause, Culprit, Diagnosis, Node, Part, Seen

if TYPE_CHECKING:
    import onnx

LISTED = 5
"""Culprits and grown tensors that are told."""

TRIED = 20
"""Nodes that err by themselves whose effect on the outputs is tried."""

JUMP = 10.0
"""By how much the whole engine's error must grow at a node that is right by itself to be laid to fusion."""


@dataclass
class Case:
    """A suspect beside its reference, with the values both gave; ``runner`` runs what the engine is made of."""

    reference: Graph
    suspect: Graph
    precision: str
    feeds: Values
    runner: Runner
    expected: Values
    regions: tuple[Region, ...] = ()

    @cached_property
    def dtypes(self) -> dict[str, np.dtype[np.generic]]:
        """The suspect's own dtypes, as far as ONNX can infer them."""
        return types_of(self.suspect.model)

    def value(self, name: str) -> np.ndarray:
        """The reference's value for a tensor or input of the suspect."""
        return self.expected[self.meaning.get(name, name)] if name not in self.feeds else self.feeds[name]

    @cached_property
    def meaning(self) -> Mapping[str, str]:
        """The reference's name for each tensor of the suspect that is paired."""
        return {region.pair.suspect: region.pair.reference for region in self.regions}


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
    (``hil.diagnose.healthy``). Raises ``EngineBuildError`` or ``EngineError`` where a variant cannot be run.
    """
    theirs, ours = Graph(reference), Graph(suspect)
    paired = pairs(theirs, ours)
    expected = _reference_values(theirs, [pair.reference for pair in paired], feeds)
    floating = frozenset(name for name, array in expected.items() if array.dtype.kind == "f" and array.size)
    case = Case(theirs, ours, precision, feeds, runner, expected)
    case.regions = tuple(
        region for region in regions(theirs, ours, paired, floating) if region.pair.reference in expected
    )
    whole = _outputs(case, runner(suspect, feeds))
    inside = _marked(case)
    alone = _alone(case, inside)
    seen = _seen(case, inside, alone)
    found = Diagnosis(
        precision=precision,
        samples=_rows(feeds),
        nodes=len(theirs.nodes),
        looked_at=len(seen),
        outputs=whole,
        marked=_outputs(case, inside),
        first=next((one for one in seen.values() if one.whole > one.bound), None),
        grown=tuple(sorted(seen.values(), key=lambda one: -one.ratio)[:LISTED]),
        notes=tuple(_notes(case)),
    )
    guilty = _guilty(case, seen, alone)
    culprits = [replace(_culprit(case, region, seen[region], alone), effect=effect) for region, effect in guilty]
    if culprits:
        region = guilty[0][0]
        confirmed = _confirmed(case, region, culprits[0], whole)
        return replace(found, culprits=(confirmed, *culprits[1:]), part=_part(case, region, inside, alone))
    return _fused(case, found, seen, inside)


def _rows(feeds: Values) -> int:
    first = next(iter(feeds.values()))
    return len(first) if first.ndim else 1


def _reference_values(graph: Graph, names: Iterable[str], feeds: Values) -> Values:
    return {**feeds, **on_host(marked(graph, names, {}), feeds)}


def _outputs(case: Case, values: Mapping[str, np.ndarray]) -> dict[str, float]:
    names = [name for name in case.reference.outputs if name in case.expected]
    return {name: error(case.expected[name], values[name]) if name in values else math.inf for name in names}


def _marked(case: Case) -> Values:
    """What the engine gives inside, with its own outputs, some tensors at a time."""
    wanted = [region.pair.suspect for region in case.regions]
    sizes = {name: case.value(name).nbytes for name in wanted}
    found: Values = {}
    for names in portions(wanted, sizes):
        found |= case.runner(marked(case.suspect, names, case.dtypes), case.feeds)
    return found


def _alone(case: Case, inside: Values) -> Values:
    """What each region gives by itself, from the reference's values; by the suspect's tensor."""
    return _severed(case, case.suspect, "suspect", case.runner, inside)


def _severed(case: Case, graph: Graph, side: str, runner: Runner, inside: Mapping[str, np.ndarray]) -> Values:
    by_name = {region.pair.suspect: region for region in case.regions}
    sizes = {
        name: case.value(name).nbytes + sum(case.value(each).nbytes for each in region.takes)
        for name, region in by_name.items()
    }
    found: Values = {}
    for names in portions(by_name, sizes):
        parts = [by_name[name] for name in names]
        feeds = _feeds(case, parts, inside)
        got = runner(severed(graph, parts, feeds, side), feeds)
        for name in names:
            given = got.get(name + OWN, got.get(name))
            if given is not None:
                found[name] = given
    return found


def _feeds(case: Case, parts: Iterable[Region], inside: Mapping[str, np.ndarray]) -> Values:
    """The reference's values of all that ``parts`` take or make, in the dtypes in which the suspect has them."""
    cut = {region.pair.suspect for region in case.regions}
    names = dict.fromkeys(name for part in parts for name in (*part.takes, part.pair.suspect))
    feeds: Values = {}
    for name in names:
        if name in case.feeds or (name in cut and case.value(name).dtype.kind == "f"):
            value = case.value(name)
            dtype = inside[name].dtype if name in inside and name not in case.feeds else value.dtype
            with np.errstate(over="ignore"):
                feeds[name] = value.astype(dtype)
    return feeds


def _bounds(case: Case) -> dict[str, float]:
    """By the suspect's tensor, the most that a healthy engine may show there."""
    origin = tuple(region for region in case.regions if region.origin)
    measured = _healthy(case, origin)
    for region in case.regions:
        if region.pair.quantized:
            name = region.pair.suspect
            measured[name] = max(measured.get(name, 0.0), healthy.quantization(case.value(name)))
    bounds = {name: healthy.bound(off, case.precision) for name, off in measured.items()}
    for region in case.regions:
        if region.pair.quantized:
            scale = scale_of(case.suspect, region)
            name = region.pair.suspect
            bounds[name] = healthy.range_bound(measured[name], largest(case.value(name)), scale)
    return {region.pair.suspect: bounds.get(region.pair.suspect, healthy.FLOORS[case.precision]) for region in case.regions}


def _healthy(case: Case, origin: tuple[Region, ...]) -> dict[str, float]:
    found: dict[str, float] = {}
    cut = {region.pair.reference for region in case.regions if case.expected[region.pair.reference].dtype.kind == "f"}
    by_name = {region.pair.reference: region for region in origin}
    sizes = {name: 2 * case.expected[name].nbytes for name in by_name}
    for names in portions(by_name, sizes):
        parts = [by_name[name] for name in names]
        takes = {each for part in parts for each in case.reference.between(part.pair.reference, frozenset(cut - {part.pair.reference}))[1]}
        exact = {name: case.expected[name] for name in (*takes, *names) if name in cut or name in case.feeds}
        rounded = {name: healthy.rounded(array, case.precision) for name, array in exact.items()}
        model = severed(case.reference, parts, exact, "reference")
        healthy.round_weights(model, case.precision)
        got = on_host(model, rounded)
        for name in names:
            given = got.get(name + OWN, got.get(name))
            if given is not None:
                off = error(case.expected[name], healthy.rounded(given, case.precision))
                found[by_name[name].pair.suspect] = off if math.isfinite(off) else 0.0
    return found


def _seen(case: Case, inside: Values, alone: Values) -> dict[Region, Seen]:
    bounds = _bounds(case)
    found = {}
    for region in case.regions:
        name = region.pair.suspect
        if name not in alone:
            continue
        value = case.value(name)
        found[region] = Seen(
            tensor=region.pair.reference,
            node=node_of(case, region),
            alone=error(value, alone[name]),
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
    """The regions that err by themselves and make the outputs err, the worst first, each with the outputs' error.

    A range that clips what a ReLU behind it drops anyway is off by itself and harms nobody.
    """
    off = sorted((one for one in seen.items() if one[1].ratio > 1), key=lambda one: -min(one[1].ratio, 1e12))
    effects = ((region, _effect(case, region, alone[region.pair.suspect])) for region, _ in off[:TRIED])
    floor = healthy.FLOORS[case.precision]
    return sorted((one for one in effects if one[1] > floor), key=lambda one: -one[1])[:LISTED]


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
    entering = frozenset(one for one in region.takes if case.meaning.get(one, one) in case.reference.inputs)
    place = Place(case.reference, case.suspect, region, case.precision, case.value(name), alone[name], entering)
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
    after = _outputs(case, case.runner(patched(case.suspect, name, value), feeds))
    return replace(culprit, before=before, after=max(after.values(), default=0.0))


def _part(case: Case, region: Region, inside: Values, alone: Values) -> Part:
    """The region taken out of both graphs, with what it takes and what it should give and gives."""
    name, meant = region.pair.suspect, region.pair.reference
    feeds = _feeds(case, [region], inside)
    model = severed(case.suspect, [region], feeds)
    reference = None
    if region.origin:
        theirs = {meant: case.expected[meant], **{n: case.expected[n] for n in case.expected if n in _all(case, region)}}
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


def _fused(case: Case, found: Diagnosis, seen: Mapping[Region, Seen], inside: Values) -> Diagnosis:
    """Where every node is right by itself: whether the whole engine errs between two of them all the same."""
    before, after = (max(errors.values(), default=0.0) for errors in (found.outputs, found.marked))
    floor = healthy.FLOORS[case.precision]
    if before > floor and before > JUMP * after:
        return cured_by(case, found, seen)
    by_name = {region.pair.suspect: one for region, one in seen.items()}
    for region, one in seen.items():
        arrived = max((by_name[name].whole for name in region.takes if name in by_name), default=0.0)
        if one.whole > JUMP * max(arrived, one.bound) and before > floor:
            name = region.pair.suspect
            culprit = Culprit(
                seen=one,
                cause=Cause.FUSION,
                evidence=(
                    f"alone it is within {one.bound:.2g}, in the whole engine it is off by {one.whole:.2g} "
                    f"where what it takes is off by {arrived:.2g} at most",
                ),
                suspect_nodes=tuple(case.suspect.label(number) for number in region.nodes),
                reference=statistics(case.value(name)),
                engine=statistics(inside[name]),
            )
            return replace(found, culprits=(_confirmed(case, region, culprit, found.outputs),))
    return found


def _notes(case: Case) -> Iterable[str]:
    bodies = [case.suspect.label(number) for number, node in enumerate(case.suspect.nodes) if node.op_type in BODIES]
    if bodies:
        yield f"not looked into the bodies of {', '.join(bodies[:LISTED])}: each is taken as one node"
    lost = len(case.reference.varying) - len(case.reference.inputs) - len({r.pair.reference for r in case.regions})
    if lost > 0:
        yield f"{lost} tensors of the model are not in the engine's graph by name: they are within the nodes named"
