"""``wrong_declaration`` names the declared shape that the graph contradicts, with a command that repairs the file."""

from __future__ import annotations

import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hil.onnx_files.declared_shapes import wrong_declaration
from hil.onnx_files.reference import cpu_session
from tests.models import write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    Shape = Sequence[int | str]

WEIGHTS: dict[str, np.ndarray] = {"w": np.ones((8, 12), np.float32), "as": np.array([-1, 8], np.int64)}


def model(path: Path, given: Shape, result: Shape, inner: Shape | None = None) -> Path:
    """Write a network from 8 values to 12; the file declares ``given``, ``result`` and, for tensor ``m``, ``inner``."""
    nodes = [
        helper.make_node("Reshape", ["x", "as"], ["r"], name="flat"),
        helper.make_node("MatMul", ["r", "w"], ["m"], name="fc"),
        helper.make_node("Relu", ["m"], ["y"], name="relu"),
    ]
    write(path, nodes if len(given) > 2 else nodes[1:], {"x" if len(given) > 2 else "r": given}, {"y": result}, WEIGHTS)
    if inner is not None:
        proto = onnx.load(path)
        proto.graph.value_info.append(helper.make_tensor_value_info("m", TensorProto.FLOAT, inner))
        onnx.save(proto, path)
    return path


@pytest.mark.parametrize(
    ("given", "result", "inner", "words"),
    [
        (("n", 8), ("n", 10), None, "declares output 'y' as [n, 10], but its graph gives [n, 12]"),
        (("n", 8), ("n", 12, 1), None, "declares output 'y' as [n, 12, 1], but its graph gives [n, 12]"),
        (("n", 8), ("n", 12), (2, 11), "declares the tensor 'm' as [2, 11], but its graph gives [n, 12]"),
        (
            (1, 9),
            (1, 12),
            None,
            "declares input 'r' as [1, 9], which its graph contradicts ((op_type:MatMul, node name: fc)",
        ),
        ((1, 2, 3), (1, 12), None, "with 4 on axis 2 it fits"),
    ],
)
def test_the_declaration_is_named_and_the_command_repairs_it(
    tmp_path: Path, given: Shape, result: Shape, inner: Shape | None, words: str
) -> None:
    """A wrong declaration is named, and the proposed command repairs the file."""
    path = model(tmp_path / "m.onnx", given, result, inner)
    text = wrong_declaration(path)
    assert text is not None
    assert words in text
    python, *rest = shlex.split(text.partition("repair the file with ")[2])
    assert python == "python"
    subprocess.run([sys.executable, *rest], cwd=tmp_path, check=True)
    assert wrong_declaration(path) is None
    [one] = cpu_session(path).get_inputs()
    feed = np.ones([size if isinstance(size, int) else 1 for size in one.shape], np.float32)
    assert cpu_session(path).run(None, {one.name: feed})[0].shape == (1, 12)


def test_an_output_with_the_name_of_another_size(tmp_path: Path) -> None:
    """An output's dimension named as an input's, but of another size, is reported, and the command repairs the file."""
    nodes = [helper.make_node("Concat", ["x", "x"], ["y"], axis=1), helper.make_node("Relu", ["x"], ["z"])]
    path = write(tmp_path / "m.onnx", nodes, {"x": ("batch", "n")}, {"z": ("batch", "n"), "y": ("batch", "n")})
    text = wrong_declaration(path)
    assert text is not None
    words = "declares output 'y' as [batch, n], but its graph gives [64, 256] for batch = 64, n = 128"
    assert words in text
    _, *rest = shlex.split(text.partition("repair the file with ")[2])
    subprocess.run([sys.executable, *rest], cwd=tmp_path, check=True)
    assert wrong_declaration(path) is None


@pytest.mark.parametrize(("given", "result"), [(("n", 8), ("n", 12)), ((1, 8), (1, "m")), ((1, "a", "b"), ("n", 12))])
def test_declarations_that_agree(tmp_path: Path, given: Shape, result: Shape) -> None:
    """Shapes with free sizes contradict nothing, and neither does a file that is not ONNX."""
    assert wrong_declaration(model(tmp_path / "m.onnx", given, result)) is None
    (tmp_path / "text.onnx").write_text("hello")
    assert wrong_declaration(tmp_path / "text.onnx") is None
