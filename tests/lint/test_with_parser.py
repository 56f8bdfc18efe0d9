"""TensorRT-RTX's parser on the made models, and ``hil lint`` on third-party models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hil.config.models import InputSpec, ModelSpec
from hil.lint import examine
from hil.lint.machine import machine_named
from hil.onnx_files.parser_trial import parse_answer
from hil.onnx_files.signature import dimension, read_signature
from tests.agent.runtimes.tensorrt.rtx import module, needs_rtx
from tests.lint.made import MADE, X, Y, built, node
from tests.zoo.models import MODELS
from tests.zoo.packages import installed

if TYPE_CHECKING:
    from pathlib import Path

REFUSED = (
    "an operator that no TensorRT imports",
    "an operator of an unknown domain",
    "a type that TensorRT lacks",
    "computation in uint8",
    "a zero point that is not 0",
    "a bias of int32",
    "more scales than channels",
    "a scale of 0",
    "external data that is missing",
    "sparse weights",
    "a sparse constant",
    "a tensor that nothing makes",
)
"""The faults that the parser refuses too. It accepts the other faults, because it does not look for them."""


@needs_rtx
@pytest.mark.parametrize("name", MADE)
def test_the_parser_agrees(name: str, tmp_path: Path) -> None:
    """The parser refuses exactly the faults in ``REFUSED``, and accepts every model without its fault."""
    made, path = MADE[name], tmp_path / "m.onnx"
    path.write_bytes(made.broken(path).SerializeToString())
    assert bool(parse_answer(module(), str(path)).get("refusal")) == (name in REFUSED)
    path.write_bytes(made.sound(path).SerializeToString())
    assert not parse_answer(module(), str(path)).get("refusal")


@needs_rtx
def test_a_refusal_of_the_parser_alone_is_a_finding(tmp_path: Path) -> None:
    """A refusal by the parser alone is reported as TensorRT-RTX's answer, with the node."""
    path = tmp_path / "m.onnx"
    model = built([node("MaxPool", "x", "y", kernel_shape=[1, 1], dilations=[2, 2])], X, Y)
    path.write_bytes(model.SerializeToString())
    [one] = examine(path, machine_named(None, None)).findings
    assert (one.rule, one.level) == ("parser", "bad")
    assert one.where.startswith("TensorRT-RTX 1.")
    assert "node 'n_y' (MaxPool, opset 17)" in one.what


@pytest.fixture(scope="module")
def packages() -> Path:
    """Return the folder of the third-party models; skip if they cannot be installed."""
    try:
        return installed()
    except OSError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", MODELS)
def test_nothing_is_found_in_third_party_models(name: str, packages: Path) -> None:
    """Third-party models with declared sizes have no finding except repeated placeholders."""
    path = packages / MODELS[name].file
    inputs = read_signature(path).inputs
    sizes = {
        size or dimension(one.name, axis): (1, 32, 64)
        for one in inputs
        for axis, size in enumerate(one.shape)
        if not isinstance(size, int)
    }
    alone = {one.name: InputSpec(batch_axis="none") for one in inputs}
    spec = ModelSpec(path=str(path), data="synthetic", shapes=sizes, inputs=alone)
    examined = examine(path, machine_named("agx-orin-64gb", "7.2"), spec=spec, parser=False)
    assert {one.rule for one in examined.findings} <= {"placeholder"}
