"""Nodes that draw random numbers are found wherever they are, and only outputs that they change are refused."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import parser

from hil.cli import main
from hil.errors import Unsupported
from hil.onnx_files.host_run import run_on_host
from hil.onnx_files.random_operators import random_nodes, refuse_random
from hil.onnx_files.reference import cpu_session

if TYPE_CHECKING:
    from pathlib import Path

HEAD = '<ir_version: 9, opset_import: ["": 17, "pkg": 1]> '
GRAPH = HEAD + "g (float[n, 4] x) => (float[n, 4] y) <bool on = {1}, bool off = {0}, float share = {0.5}> "
SEEDED = GRAPH + "{ noise = RandomNormalLike <seed = 1.0> (x) y = Add(x, noise) }"
SHAPE_ONLY = GRAPH + "{ noise = RandomNormalLike(x) size = Shape(noise) y = Reshape(x, size) }"
RANDOM = {
    "RandomNormalLike": SEEDED,
    "RandomUniformLike": GRAPH + "{ noise = RandomUniformLike(x) y = Add(x, noise) }",
    "RandomNormal": GRAPH + "{ noise = RandomNormal <shape = [1, 4]> () y = Add(x, noise) }",
    "RandomUniform": GRAPH + "{ noise = RandomUniform <shape = [1, 4]> () y = Add(x, noise) }",
    "Bernoulli": GRAPH + "{ p = Sigmoid(x) y = Bernoulli(p) }",
    "Multinomial": GRAPH + "{ one = Multinomial <sample_size = 4> (x) y = Cast <to = 1> (one) }",
    "Dropout in training mode": GRAPH + "{ y = Dropout(x, share, on) }",
    "in a subgraph": HEAD
    + """g (float[n, 4] x) => (float[n, 4] y) <bool on = {1}> {
        y = If(on) <then_branch = t () => (float[n, 4] a) { b = RandomNormalLike(x) a = Add(b, x) },
                    else_branch = e () => (float[n, 4] c) { c = Identity(x) }>
    }""",
    "in a function": HEAD
    + """g (float[n, 4] x) => (float[n, 4] y) { y = pkg.Part(x) }
    <domain: "pkg", opset_import: ["": 17]> Part (a) => (b) { c = RandomNormalLike(a) b = Add(a, c) }""",
}


@pytest.mark.parametrize("case", RANDOM)
def test_a_model_that_draws_random_numbers_is_refused(case: str, tmp_path: Path) -> None:
    """Each kind of node is named, in the graph, a subgraph or a function, and the output that it changes."""
    path = tmp_path / "m.onnx"
    model = parser.parse_model(RANDOM[case])
    onnx.save(model, path)
    nodes, session = random_nodes(model), cpu_session(path)
    assert len(nodes) == 1
    run = partial(run_on_host, session, ["y"], {"x": np.full((8, 4), 0.25, np.float32)})
    with pytest.raises(Unsupported, match=r"draws random numbers, so that output 'y' differs"):
        refuse_random(nodes, ["y"], [run])


def test_values_that_no_output_depends_on_change_nothing(tmp_path: Path) -> None:
    """A model whose random values reach no output is judged like any other."""
    onnx.save(parser.parse_model(SHAPE_ONLY), tmp_path / "m.onnx")
    run = partial(run_on_host, cpu_session(tmp_path / "m.onnx"), ["y"], {"x": np.ones((8, 4), np.float32)})
    refuse_random(random_nodes(parser.parse_model(SHAPE_ONLY)), ["y"], [run])


@pytest.mark.parametrize("dropout", ["Dropout(x)", "Dropout(x, share)", "Dropout(x, share, off)"])
def test_dropout_of_an_inference_draws_nothing(dropout: str) -> None:
    """``Dropout`` counts only if it may be in training mode."""
    assert not random_nodes(parser.parse_model(GRAPH + f"{{ y = {dropout} }}"))


def test_files_are_not_compared_over_random_outputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``hil parity`` refuses to compare random outputs, even if a seed makes the first runs of both files equal."""
    onnx.save(parser.parse_model(SEEDED), tmp_path / "m.onnx")
    np.savez(tmp_path / "data.npz", x=np.ones((8, 4), np.float32))
    file = str(tmp_path / "m.onnx")
    assert main(["parity", file, file, "--data", str(tmp_path / "data.npz")]) == 1
    assert "draws random numbers" in " ".join(capsys.readouterr().err.split())
