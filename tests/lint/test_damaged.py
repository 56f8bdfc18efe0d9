"""A damaged model gives one message or findings, without another error, and within a time limit."""

from __future__ import annotations

import contextlib
import tempfile
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from hil.errors import UserError
from hil.lint import examine
from hil.lint.machine import machine_named
from tests.lint.made import MADE, X, Y, built, node

MACHINE = machine_named("agx-orin-64gb", "5.1.2")
DAMAGE = st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=4)


@cache
def content(name: str) -> bytes:
    """Return the bytes of a made model."""
    with tempfile.TemporaryDirectory() as folder:
        return bytes(MADE[name].broken(Path(folder) / "m.onnx").SerializeToString())


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(MADE)), DAMAGE)
def test_changed_bytes(name: str, damage: list[tuple[float, int]]) -> None:
    """A file with changed bytes gives one message or findings."""
    damaged = bytearray(content(name))
    for place, byte in damage:
        damaged[int(place * len(damaged))] = byte
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(UserError):
        path = Path(folder) / "m.onnx"
        path.write_bytes(damaged)
        examine(path, MACHINE, parser=False)


CYCLE = [node("Relu", "b", "a"), node("Relu", "a", "b"), node("Add", "a x", "y")]
SHORT = [
    helper.make_node("QuantizeLinear", ["x", "s"], []),
    helper.make_node("DequantizeLinear", [], ["d"]),
    helper.make_node("Relu", [], ["r"]),
    node("Conv", "d r", "y"),
]


@pytest.mark.parametrize("nodes", [CYCLE, SHORT], ids=["a cycle", "nodes without inputs or outputs"])
def test_graphs_that_no_exporter_writes(nodes: list[object], tmp_path: Path) -> None:
    """A cycle, and nodes without inputs or outputs, are findings."""
    model = built([], X, Y, {"s": 1.0})
    model.graph.node.extend(nodes)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    assert examine(tmp_path / "m.onnx", MACHINE, parser=False).stops


def test_text_that_is_not_utf_8_is_one_message(tmp_path: Path) -> None:
    """A name that is not UTF-8 is refused with one message."""
    damaged = content("a scale of 0").replace(b"n_xq", b"n_\xad\xff")
    (tmp_path / "m.onnx").write_bytes(damaged)
    with pytest.raises(UserError, match="is not UTF-8"):
        examine(tmp_path / "m.onnx", MACHINE, parser=False)
