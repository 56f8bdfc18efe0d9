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
    """Return ``RunResults`` in the format of Polygraphy 0.53."""
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
    """Iterations are concatenated along the first dimension, whatever their numbers of samples."""
    arrays = _read(tmp_path, [{"x": _json(IMAGES[:1])}, {"x": _json(IMAGES[1:])}])
    assert np.array_equal(arrays["x"], IMAGES)


@pytest.mark.parametrize("runs", [["trt-runner"], ["trt-runner", "onnxrt-runner-N0"]])
def test_outputs_are_those_of_the_reference(tmp_path: Path, runs: list[str]) -> None:
    """The outputs are those of the only run, or of ONNX Runtime's run if there are several."""
    assert np.array_equal(_read(tmp_path, _results(*runs))["y"], IMAGES)


def test_a_file_is_converted_once(tmp_path: Path) -> None:
    """A file with unchanged content is not converted again; a changed one is."""
    path = tmp_path / "saved.json"
    path.write_text(json.dumps([{"x": _json(IMAGES)}]))
    first = polygraphy.converted(path, tmp_path)
    before = first.stat().st_mtime_ns
    assert polygraphy.converted(path, tmp_path) == first
    assert first.stat().st_mtime_ns == before
    path.write_text(json.dumps([{"x": _json(IMAGES + 1)}]))
    assert polygraphy.converted(path, tmp_path) != first


def test_a_folder_that_cannot_be_written_names_its_key(tmp_path: Path) -> None:
    """If the cache cannot be written, the message names the key for its folder."""
    (tmp_path / "saved.json").write_text(json.dumps([{"x": _json(IMAGES)}]))
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(UserError, match=r"cannot be written: .*write cache = 'FOLDER' under \[project\]"):
        polygraphy.converted(tmp_path / "saved.json", tmp_path / "cache")


def test_a_changed_conversion_is_repeated(tmp_path: Path) -> None:
    """An earlier conversion is used only if its digest is unchanged."""
    path = tmp_path / "saved.json"
    path.write_text(json.dumps([{"x": _json(IMAGES)}]))
    conversion = polygraphy.converted(path, tmp_path)
    with np.load(conversion) as file:
        assert np.array_equal(file["x"], IMAGES)
    np.savez(conversion, x=IMAGES + 1)
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
def test_unusable_content_is_one_message(tmp_path: Path, content: object, word: str) -> None:
    """Malformed, foreign, ambiguous, empty, uneven, damaged or pickled content is refused, and no file is left."""
    with pytest.raises(UserError, match=word):
        _read(tmp_path, content)
    assert not list(tmp_path.rglob("*.npz"))


@given(st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_any_other_json_is_refused(tmp_path_factory: pytest.TempPathFactory, content: object) -> None:
    """JSON that Polygraphy did not write is refused with ``UserError``."""
    with pytest.raises(UserError):
        _read(tmp_path_factory.mktemp("any"), content)


def test_files_written_by_polygraphy_are_read(tmp_path: Path) -> None:
    """A file that Polygraphy itself saved is read."""
    save_json([{"x": IMAGES[:2]}, {"x": IMAGES[2:]}], str(tmp_path / "own.json"))
    with np.load(polygraphy.converted(tmp_path / "own.json", tmp_path), allow_pickle=False) as file:
        assert np.array_equal(file["x"], IMAGES)
