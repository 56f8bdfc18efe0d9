from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from hil.agent.runtimes.tensorrt import onnx_file
from tests.agent import models

if TYPE_CHECKING:
    from pathlib import Path


def as_onnx_reads(path: Path) -> tuple[list[tuple[str, str, str]], dict[str, int]]:
    """Return nodes and opsets as the onnx package reads them."""
    model = onnx.load(path, load_external_data=False)
    nodes = [(node.name, node.op_type, node.domain) for node in model.graph.node]
    return nodes, {entry.domain: entry.version for entry in model.opset_import}


@pytest.mark.parametrize("make", [models.tiny, models.tiny_qdq, models.unknown_operator])
def test_the_result_equals_the_onnx_package_s(make: object, tmp_path: Path) -> None:
    """Names, operators, domains and opsets are those that the onnx package reads."""
    assert callable(make)
    path = make(tmp_path / "model.onnx")
    parsed = onnx_file.read(str(path))
    nodes, opsets = as_onnx_reads(path)
    assert [tuple(node) for node in parsed.nodes] == nodes
    assert parsed.opsets == opsets
    assert parsed.inputs == {"x": ("n", None)}


def test_external_weights_and_other_domains(tmp_path: Path) -> None:
    """Missing external weights do not matter; an operator of another domain has that domain's opset."""
    big = numpy_helper.from_array(np.ones((300, 300), np.float32), "w")
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Own", ["m"], ["y"], "mine", domain="com.me")],
        "g",
        [info("x", TensorProto.FLOAT, ["batch", 300])],
        [info("y", TensorProto.FLOAT, None)],
        [big],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.me", 3)]
    path = tmp_path / "external.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets), path, save_as_external_data=True, location="w.bin")
    (tmp_path / "w.bin").unlink()
    parsed = onnx_file.read(str(path))
    assert [tuple(node) for node in parsed.nodes] == [("", "MatMul", ""), ("mine", "Own", "com.me")]
    assert (parsed.opset(), parsed.opset("ai.onnx"), parsed.opset("com.me"), parsed.opset("no")) == (17, 17, 3, None)


def test_large_weights_are_skipped(tmp_path: Path) -> None:
    """A file of 2 GiB, sparse on disk, is skipped field by field."""
    path = models.tiny(tmp_path / "tiny.onnx")
    plain = path.read_bytes()
    size = 1 << 31
    with path.open("ab") as file:  # an unknown field 100 of 2 GiB after the model: longer than any int32
        file.write(bytes([0xA2, 0x06, *_varint(size)]))
        file.truncate(file.tell() + size)
    parsed = onnx_file.read(str(path))
    path.write_bytes(plain)
    assert parsed == onnx_file.read(str(path))


def _varint(number: int) -> bytes:
    digits = []
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*digits, number])


@given(st.data())
def test_a_damaged_file_is_malformed_or_read(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """A truncated or altered file is read or refused as malformed; no other exception is raised."""
    folder = tmp_path_factory.mktemp("damage")
    content = bytearray(models.tiny(folder / "m.onnx").read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (folder / "d.onnx").write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with contextlib.suppress(onnx_file.Malformed):
        onnx_file.read(str(folder / "d.onnx"))


def test_overlong_numbers_and_other_files_are_malformed(tmp_path: Path) -> None:
    """An empty file, text, and a varint of eleven bytes are not ONNX files."""
    for content in (b"", b"not an onnx file at all", b"\x08" + b"\xff" * 11, b"\x3a\xff\x01"):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(onnx_file.Malformed):
            onnx_file.read(str(tmp_path / "x"))
