"""``read_signature`` returns an ONNX file's inputs and outputs, or raises one message about the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import TensorProto

from hil.errors import UserError
from hil.onnx_files.signature import Signature, read_signature
from tests.datasets.project import spec, write_model

if TYPE_CHECKING:
    from pathlib import Path


def test_names_dtypes_and_shapes(tmp_path: Path) -> None:
    """Fixed, named and unnamed dimensions are distinguished; an initializer is not an input, even if listed as one."""
    signature = read_signature(write_model(tmp_path / "m.onnx", ["batch", 3, None], initializer=True))
    assert signature.inputs == (spec("x", "float32", "batch", 3, None),)
    assert signature.outputs == (spec("y", "float32", "batch", 3, None),)
    assert (signature.opset, signature.ir_version, signature.has_qdq) == (13, 7, False)
    assert str(signature.inputs[0]) == "x: float32[batch, 3, ?]"


@pytest.mark.parametrize(
    ("element", "name"),
    [
        (TensorProto.FLOAT16, "float16"),
        (TensorProto.DOUBLE, "float64"),
        (TensorProto.BOOL, "bool"),
        (TensorProto.UINT8, "uint8"),
        (TensorProto.INT64, "int64"),
        (TensorProto.BFLOAT16, "bfloat16"),
        (TensorProto.FLOAT8E4M3FN, "float8_e4m3fn"),
        (TensorProto.FLOAT8E4M3FNUZ, "float8_e4m3fnuz"),
        (TensorProto.FLOAT8E5M2, "float8_e5m2"),
        (TensorProto.FLOAT8E5M2FNUZ, "float8_e5m2fnuz"),
        (TensorProto.INT4, "int4"),
        (TensorProto.UINT4, "uint4"),
        (24, "float8_e8m0fnu"),
        (25, "uint2"),
        (26, "int2"),
    ],
)
def test_dtypes_have_numpys_names(tmp_path: Path, element: int, name: str) -> None:
    """Dtypes have the names of numpy or ml_dtypes, so that arrays can be compared with them."""
    assert read_signature(write_model(tmp_path / "m.onnx", [1], dtype=element)).inputs[0].dtype == name
    assert np.dtype(name).name == name


@pytest.mark.parametrize(
    ("element", "name"),
    [(TensorProto.STRING, "string"), (TensorProto.COMPLEX64, "complex64"), (TensorProto.FLOAT4E2M1, "float4e2m1")],
)
def test_elements_that_are_no_numbers_are_refused(tmp_path: Path, element: int, name: str) -> None:
    """Text, complex numbers and types that no runtime here takes are refused by name before anything is built."""
    with pytest.raises(UserError, match=rf"'x' of .* has elements of type {name}, but only numbers .*: model m: cut"):
        read_signature(write_model(tmp_path / "m.onnx", [1], dtype=element))


@pytest.mark.parametrize("field", ["input", "output"])
def test_a_name_that_occurs_twice_is_refused(tmp_path: Path, field: str) -> None:
    """A name of two inputs or of two outputs is refused, since arrays are fed and compared by name."""
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (float[4] x) => (float[4] y) { y = Abs(x) }'
    )
    tensors = getattr(model.graph, field)
    tensors.append(tensors[0])
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match=rf"has the {field} '{tensors[0].name}' twice: model m: remove one of them"):
        read_signature(tmp_path / "m.onnx")


@pytest.mark.parametrize(("field", "side"), [("input", "behind"), ("output", "before")])
def test_the_advice_says_on_which_side_to_cut(tmp_path: Path, field: str, side: str) -> None:
    """A graph is cut behind an input of texts, and before an output of texts."""
    text = (
        "g (string[n] x) => (bool[n] z) { z = Equal(x, x) }"
        if field == "input"
        else "g (int64[n] x) => (string[n] y) { y = Cast <to = 8> (x) }"
    )
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> {text}')
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match=f"elements of type string, .*cut the graph {side} it"):
        read_signature(tmp_path / "m.onnx")


def test_the_bundled_examples(repository: Path) -> None:
    """Two inputs and two outputs are returned in the file's order."""
    signature = read_signature(repository / "examples/arm/model.onnx")
    assert [each.name for each in signature.inputs] == ["joints", "tool"]
    assert [each.name for each in signature.outputs] == ["position", "rotation"]
    assert signature.batch() is None


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"\x08\x07", b"\xff" * 100], ids=["empty", "text", "no-graph", "noise"]
)
def test_files_that_are_not_onnx(tmp_path: Path, data: bytes) -> None:
    """A file without an ONNX graph is rejected, even if protobuf can parse it."""
    path = tmp_path / "robot.onnx"
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"cannot read .*robot.onnx as ONNX .*: model robot: copy the file again"):
        read_signature(path)


def test_a_truncated_file(tmp_path: Path, repository: Path) -> None:
    """A file truncated by one byte, to half or to a few bytes raises an error that suggests an incomplete copy."""
    whole = (repository / "examples/digits/model.onnx").read_bytes()
    path = tmp_path / "m.onnx"
    for size in (3, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match="copy the file again, whole"):
            read_signature(path)
    with pytest.raises(UserError, match="No such file"):
        read_signature(tmp_path / "absent.onnx")


def test_a_batch_declared_as_one_sample_is_one_a_call() -> None:
    """If the declared batch has only the size 1, each call takes one sample, even if the file allows more."""
    tensor = spec("x", "float32", "batch", 4)
    strides = [Signature((tensor,), (), sizes={"batch": size}).stride() for size in ((1, 1, 1), (1, 1, 4))]
    assert strides == [1, None]
