"""ONNX's own test cases as models with one set of inputs and expected outputs."""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx.backend.test.case.node as node_cases
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests
from onnx.backend.test.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from onnx.backend.test.case.test_case import TestCase

STORED = ("simple", "pytorch-converted", "pytorch-operator", "light")
"""The kinds of models that are stored in the package with their expected outputs."""

SEED = 20_261_130
MODULES, STORED_SAMPLE = 24, 10
"""How many modules of node cases, and how many stored models, ``--quick`` draws."""

SLOW = frozenset({"attention", "causal_conv_with_state", "flexattention", "group_query_attention", "image_decoder"})
"""Modules that take over two seconds to make their cases; ``--quick`` does not draw them."""


@dataclass(frozen=True)
class Case:
    """A model with inputs and expected outputs in the file's order; a value that is not an array is left as it is."""

    name: str
    kind: str
    model: onnx.ModelProto
    inputs: Sequence[Any]
    outputs: Sequence[Any]
    rtol: float
    atol: float

    @property
    def feeds(self) -> dict[str, Any]:
        """The inputs by name; initializers that the file also lists as inputs are left out."""
        weights = {one.name for one in self.model.graph.initializer}
        names = [one.name for one in self.model.graph.input if one.name not in weights]
        return dict(zip(names, self.inputs, strict=False))

    @property
    def expected(self) -> dict[str, Any]:
        """The expected outputs by name."""
        return dict(zip((one.name for one in self.model.graph.output), self.outputs, strict=False))


def cases(*, quick: bool) -> Iterator[Case]:
    """Yield all cases of the installed onnx package, or with ``quick`` a sample of them that a fixed seed draws."""
    random = np.random.default_rng(SEED)
    drawn = sorted(one.name for one in pkgutil.iter_modules(node_cases.__path__) if one.name not in SLOW)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the cases divide by zero and overflow on purpose
        if quick:
            for name in sorted(random.choice(drawn, min(MODULES, len(drawn)), replace=False)):
                importlib.import_module(f"{node_cases.__name__}.{name}")
            made = node_cases._NodeTestCases  # noqa: SLF001 - what its public function returns after importing them all
        else:
            made = node_cases.collect_testcases()
    for one in made:
        if one.model is not None:
            for inputs, outputs in one.data_sets or ():
                yield _case(one, "node", one.model, inputs, outputs)
    stored = [(kind, one) for kind in STORED for one in sorted(load_model_tests(kind=kind), key=lambda one: one.name)]
    if quick:
        stored = [stored[at] for at in sorted(random.choice(len(stored), STORED_SAMPLE, replace=False))]
    for kind, one in stored:
        yield from _stored(kind, one)


def _case(one: TestCase, kind: str, model: onnx.ModelProto, inputs: Sequence[Any], outputs: Sequence[Any]) -> Case:
    return Case(one.name, kind, model, [_array(v) for v in inputs], [_array(v) for v in outputs], one.rtol, one.atol)


def _array(value: Any) -> Any:
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def _stored(kind: str, one: TestCase) -> Iterator[Case]:
    from pathlib import Path

    if one.model_dir is not None:
        folder = Path(one.model_dir)
        model = onnx.load(folder / "model.onnx")
        for data in sorted(folder.glob("test_data_set_*")):
            inputs = [_value(data / f"input_{at}.pb", model.graph.input[at]) for at in _numbers(data, "input")]
            outputs = [_value(data / f"output_{at}.pb", model.graph.output[at]) for at in _numbers(data, "output")]
            yield _case(one, kind, model, inputs, outputs)
        return
    path = Path(onnx.__file__).parent.parent / str(one.url)
    model = onnx.load(path)
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [
        Runner.generate_dummy_data(value, seed=0, name=one.model_name, random=False)
        for value in model.graph.input
        if value.name not in weights
    ]
    outputs = [
        _value(path.with_name(f"{path.stem}_output_{at}.pb"), value) for at, value in enumerate(model.graph.output)
    ]
    yield _case(one, kind, model, inputs, outputs)


def _numbers(folder: Path, what: str) -> range:
    return range(len(list(folder.glob(f"{what}_*.pb"))))


def _value(path: Path, declared: onnx.ValueInfoProto) -> Any:
    """Return the array in a file, or the file's bytes if the model declares another kind of value."""
    data = path.read_bytes()
    if not declared.type.HasField("tensor_type"):
        return data
    tensor = onnx.TensorProto()
    tensor.ParseFromString(data)
    return numpy_helper.to_array(tensor)
