"""A suspect beside its reference: what both give, whole and node by node, and what a healthy engine might."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from hil.diagnose import error_bounds
from hil.diagnose.causes import scale_of
from hil.diagnose.graph import Graph, Region, pairs, regions, taken
from hil.diagnose.running import Runner, Values, on_host, portions
from hil.diagnose.tensor_error import error, largest
from hil.diagnose.variants import OWN, marked, severed, types_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import onnx


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


def opened(reference: onnx.ModelProto, suspect: onnx.ModelProto, feeds: Values, precision: str, runner: Runner) -> Case:
    """The case with the reference's values and the regions between them."""
    theirs, ours = Graph(reference), Graph(suspect)
    paired = pairs(theirs, ours)
    expected = {**feeds, **on_host(marked(theirs, [pair.reference for pair in paired], {}), feeds)}
    floating = frozenset(name for name, array in expected.items() if array.dtype.kind == "f" and array.size)
    made = tuple(one for one in regions(theirs, ours, paired, floating) if one.pair.reference in expected)
    return Case(theirs, ours, precision, feeds, runner, expected, made)


def output_errors(case: Case, values: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The error of each of the model's outputs; infinite for one that ``values`` lacks."""
    names = [name for name in case.reference.outputs if name in case.expected]
    return {name: error(case.expected[name], values[name]) if name in values else math.inf for name in names}


def inside(case: Case) -> Values:
    """What the engine gives inside, with its own outputs, some tensors at a time."""
    wanted = [region.pair.suspect for region in case.regions]
    sizes = {name: case.value(name).nbytes for name in wanted}
    found: Values = {}
    for names in portions(wanted, sizes):
        found |= case.runner(marked(case.suspect, names, case.dtypes), case.feeds)
    return found


def alone(case: Case, seen: Values, fed_by: Values | None = None) -> Values:
    """What each region gives by itself, from the reference's values; by the suspect's tensor."""
    by_name = {region.pair.suspect: region for region in case.regions}
    sizes = {
        name: case.value(name).nbytes + sum(case.value(each).nbytes for each in region.takes)
        for name, region in by_name.items()
    }
    found: Values = {}
    for names in portions(by_name, sizes):
        parts = [by_name[name] for name in names]
        fed = feeds_of(case, parts, seen, fed_by or {})
        got = case.runner(severed(case.suspect, parts, fed), fed)
        found |= {name: given for name in names if (given := got.get(name + OWN, got.get(name))) is not None}
    return found


def feeds_of(
    case: Case, parts: Iterable[Region], seen: Mapping[str, np.ndarray], instead: Mapping[str, np.ndarray] | None = None
) -> Values:
    """The reference's values of all that ``parts`` take or make, in the dtypes in which the suspect has them.

    ``instead`` has values that are fed in their place.
    """
    cut = {region.pair.suspect for region in case.regions}
    names = dict.fromkeys(name for part in parts for name in (*part.takes, part.pair.suspect))
    feeds: Values = {}
    for name in names:
        if name in case.feeds or (name in cut and case.value(name).dtype.kind == "f"):
            value = (instead or {}).get(name, case.value(name))
            dtype = seen[name].dtype if name in seen and name not in case.feeds else value.dtype
            with np.errstate(over="ignore"):
                feeds[name] = value.astype(dtype)
    return feeds


def kept(case: Case, region: Region, array: np.ndarray) -> np.ndarray:
    """What of a tensor behind its Q/DQ pair is read: nothing below zero where a ReLU alone reads it.

    Calibrators give such a tensor the range of what comes out of the ReLU, and may clip all below it.
    """
    name = region.pair.reference
    readers = [node for node in case.reference.nodes if name in taken(node)]
    dropped = region.pair.quantized and name not in case.reference.outputs and array.dtype.kind == "f"
    if dropped and readers and all(node.op_type == "Relu" for node in readers):
        return np.asarray(np.maximum(array, 0))
    return array


def bounds(case: Case) -> dict[str, float]:
    """By the suspect's tensor, the most that a healthy engine may show there."""
    origin = tuple(region for region in case.regions if region.origin)
    measured = _healthy(case, origin)
    for region in case.regions:
        if region.pair.quantized:
            name = region.pair.suspect
            measured[name] = max(
                measured.get(name, 0.0), error_bounds.quantization(kept(case, region, case.value(name)))
            )
    found = {name: error_bounds.bound(off, case.precision) for name, off in measured.items()}
    for region in case.regions:
        if region.pair.quantized:
            scale = scale_of(case.suspect, region)
            name = region.pair.suspect
            found[name] = error_bounds.range_bound(measured[name], largest(kept(case, region, case.value(name))), scale)
    floor = error_bounds.FLOORS[case.precision]
    return {region.pair.suspect: found.get(region.pair.suspect, floor) for region in case.regions}


def _healthy(case: Case, origin: tuple[Region, ...]) -> dict[str, float]:
    found: dict[str, float] = {}
    cut = {region.pair.reference for region in case.regions if case.expected[region.pair.reference].dtype.kind == "f"}
    by_name = {region.pair.reference: region for region in origin}
    sizes = {name: 2 * case.expected[name].nbytes for name in by_name}
    for names in portions(by_name, sizes):
        parts = [by_name[name] for name in names]
        takes = {
            each
            for part in parts
            for each in case.reference.between(part.pair.reference, frozenset(cut - {part.pair.reference}))[1]
        }
        exact = {name: case.expected[name] for name in (*takes, *names) if name in cut or name in case.feeds}
        rounded = {name: error_bounds.rounded(array, case.precision) for name, array in exact.items()}
        model = severed(case.reference, parts, exact, "reference")
        error_bounds.round_weights(model, case.precision)
        got = on_host(model, rounded)
        for name in names:
            given = got.get(name + OWN, got.get(name))
            if given is not None:
                off = error(case.expected[name], error_bounds.rounded(given, case.precision))
                found[by_name[name].pair.suspect] = off if math.isfinite(off) else 0.0
    return found
