"""Computes the tensors of a suspect and of its reference, and the largest errors of a correct engine.

The suspect is run whole, and each region alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from hil.diagnose import error_bounds
from hil.diagnose.causes import scale_of
from hil.diagnose.graph import QUANTIZE, Graph, Region, pairs, regions, tensors_read_by
from hil.diagnose.running import Runner, Values, on_host, portions
from hil.diagnose.tensor_error import error, largest
from hil.diagnose.variants import OWN, marked, patched, severed, types_of
from hil.dtypes import is_float
from hil.errors import EngineBuildError, EngineError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import onnx


REFUSED = 8
"""The most regions that the runtime may refuse to run alone."""

Stands = Callable[[Values, Values], bool]


def never(expected: Values, obtained: Values) -> bool:  # noqa: ARG001 - as Stands
    """Return ``False``: without tolerances every error counts."""
    return False


@dataclass
class Case:
    """A suspect model and its reference, with the inputs (``feeds``) and the reference's values (``expected``).

    ``expected`` has inputs, intermediate tensors and outputs by name. ``runner`` builds and runs variants of the
    suspect where the engine runs. ``stands`` gets the expected and the obtained outputs, and returns whether the
    obtained ones do not fail parity.
    """

    reference: Graph
    suspect: Graph
    precision: str
    feeds: Values
    runner: Runner
    expected: Values
    regions: tuple[Region, ...] = ()
    stands: Stands = never

    @cached_property
    def dtypes(self) -> dict[str, np.dtype[np.generic]]:
        """Return the dtypes of the suspect's tensors by name, as far as ONNX can infer them."""
        return types_of(self.suspect.model)

    def value(self, name: str) -> np.ndarray:
        """Return the reference's value of the tensor or input that the suspect calls ``name``."""
        return self.expected[self.meaning.get(name, name)] if name not in self.feeds else self.feeds[name]

    @cached_property
    def meaning(self) -> Mapping[str, str]:
        """Return a mapping from the suspect's name of each region's tensor to the reference's name."""
        return {region.pair.suspect: region.pair.reference for region in self.regions}

    @cached_property
    def only_rectified(self) -> frozenset[str]:
        """Return the reference's tensors, except its outputs, that only ReLUs read."""
        operators: dict[str, set[str]] = {}
        for node in self.reference.nodes:
            for name in tensors_read_by(node):
                operators.setdefault(name, set()).add(node.op_type)
        rectified = {name for name, readers in operators.items() if readers == {"Relu"}}
        return frozenset(rectified - set(self.reference.outputs))


def make_case(
    reference: onnx.ModelProto, suspect: onnx.ModelProto, feeds: Values, precision: str, runner: Runner
) -> Case:
    """Run the reference on the host and return the case, with the regions between its floating-point tensors."""
    theirs, ours = Graph(reference), Graph(suspect)
    paired = pairs(theirs, ours)
    expected = {**feeds, **on_host(marked(theirs, [pair.reference for pair in paired], {}), feeds)}
    floating = frozenset(name for name, array in expected.items() if is_float(array.dtype) and array.size)
    known = tuple(r for r in regions(theirs, ours, paired, floating) if r.pair.reference in expected)
    return Case(theirs, ours, precision, feeds, runner, expected, known)


def output_errors(case: Case, values: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return the relative error of each of the model's outputs; infinite for an output that ``values`` lacks."""
    names = [name for name in case.reference.outputs if name in case.expected]
    return {name: error(case.expected[name], values[name]) if name in values else math.inf for name in names}


def intermediate_values(case: Case) -> Values:
    """Return the engine's intermediate tensors and outputs by name, from runs in which intermediates are outputs.

    Each run makes only a portion of the tensors outputs, to limit memory.
    """
    tensors = [region.pair.suspect for region in case.regions]
    sizes = {name: case.value(name).nbytes for name in tensors}
    values: Values = {}
    for names in portions(tensors, sizes):
        values |= case.runner(marked(case.suspect, names, case.dtypes), case.feeds)
    return values


def isolated_values(case: Case, inside: Values, fed_by: Values | None = None) -> Values:
    """Run each region alone where the engine runs, and return the regions' tensors by the suspect's name.

    The inputs are the reference's values, or those of ``fed_by``. A tensor that cannot be obtained is left out, for
    example where the reference's value has a shape that the region does not accept. Raise the runtime's error if it
    refuses more than ``REFUSED`` regions: the fault is then in the runtime, not in a region.
    """
    by_name = {region.pair.suspect: region for region in case.regions}
    sizes = {
        name: case.value(name).nbytes + sum(case.value(source).nbytes for source in region.takes)
        for name, region in by_name.items()
    }
    values: Values = {}
    waiting = [list(names) for names in portions(by_name, sizes)]
    refused = 0
    while waiting:
        names = waiting.pop(0)
        parts = [by_name[name] for name in names]
        feeds = feeds_of(case, parts, inside, fed_by or {})
        try:
            outputs = case.runner(severed(case.suspect, parts, feeds, dtypes=case.dtypes), feeds)
        except (EngineError, EngineBuildError):
            refused += len(names) == 1
            if refused > REFUSED:
                raise
            middle = len(names) // 2
            waiting[:0] = [names[:middle], names[middle:]] if middle else []
            continue
        by_tensor = {name: outputs.get(name + OWN, outputs.get(name)) for name in names}
        values |= {name: array for name, array in by_tensor.items() if array is not None}
    return values


def feeds_of(
    case: Case,
    parts: Iterable[Region],
    inside: Mapping[str, np.ndarray],
    instead: Mapping[str, np.ndarray] | None = None,
) -> Values:
    """Return the values to feed to ``parts``, by the suspect's name, for the tensors that the parts read or compute.

    A value is that of ``instead`` if it has the tensor, else the reference's, in the dtype that the tensor has in
    ``inside``. Only inputs of the model and floating-point tensors of regions are fed.
    """
    cut = {region.pair.suspect for region in case.regions}
    names = dict.fromkeys(name for part in parts for name in (*part.takes, part.pair.suspect))
    feeds: Values = {}
    for name in names:
        if name in case.feeds or (name in cut and is_float(case.value(name).dtype)):
            value = (instead or {}).get(name, case.value(name))
            dtype = inside[name].dtype if name in inside and name not in case.feeds else value.dtype
            with np.errstate(over="ignore"):
                feeds[name] = value.astype(dtype)
    return feeds


def relevant_values(case: Case, region: Region, array: np.ndarray) -> np.ndarray:
    """Return ``array`` without negative values if it is the output of a Q/DQ pair and only ReLUs read it.

    Any other array is returned unchanged.
    """
    if region.pair.quantized and region.pair.reference in case.only_rectified and is_float(array.dtype):
        return np.asarray(np.maximum(array, 0))
    return array


def bounds(case: Case) -> dict[str, float]:
    """Return the largest relative error of a correct engine for each region, by the name of the suspect's tensor."""
    origin = tuple(region for region in case.regions if region.origin)
    inner = tuple(region for region in origin if _quantizes(case, region))
    others = tuple(region for region in origin if region not in inner)
    measured = _rounding_errors(case, others, partial(error_bounds.rounded, precision=case.precision))
    measured |= _rounding_errors(case, inner, error_bounds.quantized)
    for region in case.regions:
        if region.pair.quantized:
            name = region.pair.suspect
            least = error_bounds.quantization(relevant_values(case, region, case.value(name)))
            measured[name] = max(measured.get(name, 0.0), least)
    result = {name: error_bounds.bound(off, case.precision) for name, off in measured.items()}
    for region in case.regions:
        if region.pair.quantized:
            scale = scale_of(case.suspect, region)
            name = region.pair.suspect
            top = largest(relevant_values(case, region, case.value(name)))
            result[name] = error_bounds.range_bound(measured[name], top, scale)
    floor = error_bounds.FLOORS[case.precision]
    return {region.pair.suspect: result.get(region.pair.suspect, floor) for region in case.regions}


def _quantizes(case: Case, region: Region) -> bool:
    """Return whether a region contains a Q/DQ pair that does not make its output.

    An example is a Q/DQ pair around a Flatten that a quantizer added before a Softmax.
    """
    nodes = [case.suspect.nodes[number] for number in region.nodes]
    return not region.pair.quantized and any(
        node.op_type == QUANTIZE and node.input[0] in case.suspect.varying for node in nodes
    )


def _rounding_errors(
    case: Case, origin: tuple[Region, ...], rounding: Callable[[np.ndarray], np.ndarray]
) -> dict[str, float]:
    """Return the relative errors of the regions ``origin`` of the reference, by name of the suspect's tensor.

    Each region runs alone on the host, with operands changed by ``rounding`` and weights rounded to the case's
    precision. An infinite error counts as 0.
    """
    errors: dict[str, float] = {}
    cut = frozenset(
        region.pair.reference for region in case.regions if is_float(case.expected[region.pair.reference].dtype)
    )
    by_name = {region.pair.reference: region for region in origin}
    sizes = {name: 2 * case.expected[name].nbytes for name in by_name}
    for names in portions(by_name, sizes):
        parts = [by_name[name] for name in names]
        takes = {source for part in parts for source in case.reference.between(part.pair.reference, cut)[1]}
        exact = {name: case.expected[name] for name in (*takes, *names) if name in cut or name in case.feeds}
        rounded = {name: rounding(array) for name, array in exact.items()}
        model = severed(case.reference, parts, exact, "reference")
        error_bounds.round_weights(model, case.precision)
        outputs = on_host(model, rounded)
        for name in names:
            array = outputs.get(name + OWN, outputs.get(name))
            if array is not None:
                off = error(case.expected[name], error_bounds.rounded(array, case.precision))
                errors[by_name[name].pair.suspect] = off if math.isfinite(off) else 0.0
    return errors


def effect(case: Case, region: Region, value: np.ndarray) -> tuple[float, bool]:
    """Return the largest error of the reference's outputs if only the region's tensor has the engine's ``value``.

    Also return whether these outputs do not fail parity. The error is infinite, and the outputs fail, if ``value`` has
    another shape than the reference's tensor.
    """
    name = region.pair.reference
    expected = case.expected[name]
    if value.shape != expected.shape:
        return math.inf, False
    ends = [output for output in case.reference.outputs if output != name and output in case.expected]
    outputs = {name: value} if name in case.reference.outputs else {}
    if ends:
        with np.errstate(over="ignore"):
            feeds = {**case.feeds, name: value.astype(expected.dtype)}
        outputs |= on_host(patched(case.reference, name, expected, ends), feeds)
    theirs = {one: case.expected[one] for one in outputs}
    return max(error(theirs[one], array) for one, array in outputs.items()), case.stands(theirs, outputs)
