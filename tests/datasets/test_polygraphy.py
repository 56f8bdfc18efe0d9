from __future__ import annotations

import base64
import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polygraphy.json import save_json

from hil.datasets import polygraphy
from hil.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

IMAGES = np.arange(24, dtype=np.float32).reshape(4, 1, 6)


def _npy(array: np.ndarray, *, pickled: bool = False) -> str:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=pickled)
    return base64.b64encode(stream.getvalue()).decode()


def _json(array: np.ndarray) -> dict[str, Any]:
    return {"array": _npy(array), "polygraphy_class": "ndarray"}


def _results(*runs: str) -> dict[str, Any]:
    """The form of a ``RunResults`` of Polygraphy 0.53."""
    iterations = [
        {
            "outputs": {"y": {"values": _json(part), "polygraphy_class": "LazyArray"}},
            "runtime": 0.1,
            "runner_name": "r",
            "polygraphy_class": "IterationResult",
        }
        for part in np.split(IMAGES, 2)
    ]
    return {"lst": [[name, iterations] for name in runs], "polygraphy_class": "RunResults"}


def _read(tmp_path: Path, content: object) -> dict[str, np.ndarray]:
    path = tmp_path / "saved.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with np.load(polygraphy.converted(path, tmp_path), allow_pickle=False) as file:
        return dict(file)


def test_inputs_are_samples_one_after_another(tmp_path: Path) -> None:
    """Iterations of any number of samples, along the first dimension."""
    found = _read(tmp_path, [{"x": _json(IMAGES[:1])}, {"x": _json(IMAGES[1:])}])
    assert np.array_equal(found["x"], IMAGES)


@pytest.mark.parametrize("runs", [["trt-runner"], ["trt-runner", "onnxrt-runner-N0"]])
def test_outputs_are_those_of_the_reference(tmp_path: Path, runs: list[str]) -> None:
    """Of the only run, or of ONNX Runtime's."""
    assert np.array_equal(_read(tmp_path, _results(*runs))["y"], IMAGES)


def test_it_is_converted_once(tmp_path: Path) -> None:
    """By content: the same file is not read again, another one is."""
    path = tmp_path / "saved.json"
    path.write_text(json.dumps([{"x": _json(IMAGES)}]))
    first = polygraphy.converted(path, tmp_path)
    before = first.stat().st_mtime_ns
    assert polygraphy.converted(path, tmp_path) == first
    assert first.stat().st_mtime_ns == before
    path.write_text(json.dumps([{"x": _json(IMAGES + 1)}]))
    assert polygraphy.converted(path, tmp_path) != first


def test_a_changed_conversion_is_made_again(tmp_path: Path) -> None:
    """What was converted before is hashed before it is used."""
    path = tmp_path / "saved.json"
    path.write_text(json.dumps([{"x": _json(IMAGES)}]))
    made = polygraphy.converted(path, tmp_path)
    with np.load(made) as file:
        assert np.array_equal(file["x"], IMAGES)
    np.savez(made, x=IMAGES + 1)
    assert np.array_equal(np.load(polygraphy.converted(path, tmp_path))["x"], IMAGES)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("{", "not JSON"),
        ({}, "neither"),
        ({"polygraphy_class": "RunResults", "lst": []}, "no run"),
        (_results("a", "b"), "exactly one"),
        (_results("onnxrt-1", "onnxrt-2"), "exactly one"),
        ([], "no iteration"),
        ([{}], "without arrays"),
        ([{"x": _json(IMAGES)}, {"y": _json(IMAGES)}], "different names"),
        ([{"x": _json(IMAGES)}, {"x": _json(IMAGES[:, :, :2])}], "different shapes or dtypes"),
        ([{"x": _json(IMAGES), "z": _json(IMAGES[:1])}], "different numbers"),
        ([{"x": _json(np.float32(3))}], "different shapes or dtypes"),
        ([{"x": {"array": "AAAA", "polygraphy_class": "Tensor"}}], "as Tensor"),
        ([{"x": {"array": "!", "polygraphy_class": "ndarray"}}], "damaged"),
        ([{"x": {"array": _npy(IMAGES)[:40], "polygraphy_class": "ndarray"}}], "damaged"),
        ([{"x": {"array": _npy(np.array([None]), pickled=True), "polygraphy_class": "ndarray"}}], "damaged"),
        ([{"x": 3}], "as int"),
    ],
)
def test_what_does_not_fit_is_one_message(tmp_path: Path, content: object, word: str) -> None:
    """No JSON, not Polygraphy's, ambiguous, empty, uneven, PyTorch's, damaged, pickled; and nothing is left behind."""
    with pytest.raises(UserError, match=word):
        _read(tmp_path, content)
    assert not list(tmp_path.rglob("*.npz"))


@given(st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_any_json_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: object) -> None:
    """Never a traceback."""
    with pytest.raises(UserError):
        _read(tmp_path_factory.mktemp("any"), content)


def test_what_polygraphy_itself_writes_is_read(tmp_path: Path) -> None:
    """Its own classes, its own encoder."""
    save_json([{"x": IMAGES[:2]}, {"x": IMAGES[2:]}], str(tmp_path / "own.json"))
    with np.load(polygraphy.converted(tmp_path / "own.json", tmp_path), allow_pickle=False) as file:
        assert np.array_equal(file["x"], IMAGES)
