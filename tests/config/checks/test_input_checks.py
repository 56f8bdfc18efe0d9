from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hil.config.load import load
from hil.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("shape = [[3, 2, 4]]", "must not decrease"),
        ("shape = [0]", "shape"),
        ("shape = [8, 12]\nmultiple_of = [8, 8]", "12 is not a multiple of 8"),
        ("shape = [8, 16]\nmultiple_of = [8]", "has 1 numbers, and shape has 2 axes"),
        ("value = 1\nrange = [0, 2]", "value fixes the input"),
        ("value = 1\ncarry = 'y'", "value fixes the input"),
        ("range = [2, 1]", "must not decrease"),
        ("range = [0, 1]\n[models.m.ranges]\nx = [0, 1]", "remove one of them"),
        ("batch_axis = -1", "batch_axis"),
        ("batch_axis = 'last'", "batch_axis"),
        ("bach_axis = 1", "did you mean 'batch_axis'"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(tmp_path: Path, lines: str, words: str) -> None:
    """Each mistake is reported with its line, before any model is read."""
    (tmp_path / "m.onnx").touch()
    (tmp_path / "hil.toml").write_text(
        f"[models.m]\npath = 'm.onnx'\ndata = 'synthetic'\n[models.m.inputs.x]\n{lines}\n"
    )
    with pytest.raises(UserError, match=words) as caught:
        load(tmp_path / "hil.toml")
    assert str(caught.value).startswith("hil.toml:")


def test_a_model_with_a_state_has_no_saved_reference(tmp_path: Path) -> None:
    """A model with a state must not have a saved reference."""
    (tmp_path / "m.onnx").touch()
    (tmp_path / "hil.toml").write_text(
        "[models.m]\npath = 'm.onnx'\nreference = 'm.onnx'\ndata = 'synthetic'\n[models.m.inputs.x]\ncarry = 'y'\n"
    )
    with pytest.raises(UserError, match=r"hil\.toml:3: .*saved outputs are not read"):
        load(tmp_path / "hil.toml")


def test_a_model_with_a_state_has_one_inference_in_flight(tmp_path: Path) -> None:
    """A model with a state must not have several inferences in flight."""
    (tmp_path / "m.onnx").touch()
    (tmp_path / "hil.toml").write_text(
        "[models.m]\npath = 'm.onnx'\ndata = 'synthetic'\nrun = { streams = 2 }\ninputs.x.carry = 'y'\n"
    )
    with pytest.raises(UserError, match="one inference in flight"):
        load(tmp_path / "hil.toml")
