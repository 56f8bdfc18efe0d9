"""Rules for every bundled model and data set."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import pytest

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

Shapes = dict[str, tuple[int | str, ...]]

SHAPES: dict[str, tuple[Shapes, Shapes]] = {
    "digits": ({"image": ("batch", 1, 8, 8)}, {"logits": ("batch", 10)}),
    "scenes": ({"image": ("batch", 1, 48, 48)}, {"boxes": ("batch", 144, 4), "scores": ("batch", 144, 10)}),
    "arm": ({"joints": ("batch", 6), "tool": ("batch", 3)}, {"position": ("batch", 3), "rotation": ("batch", 6)}),
}
SPLITS = ("train", "validation", "calibration")
COMPOSED = {"scenes": ("validation", "calibration")}
"""Stored parts of the examples whose training data is generated and not stored."""

MEGABYTE = 10**6


@pytest.fixture(params=sorted(SHAPES))
def name(request: pytest.FixtureRequest) -> str:
    """Return each bundled example in turn."""
    return str(request.param)


@pytest.fixture
def folder(name: str, repository: Path) -> Path:
    """Return the folder of the example."""
    return repository / "examples" / name


def samples(path: Path, inputs: list[str]) -> list[bytes]:
    """Return the bytes of each sample over all inputs."""
    with np.load(path, allow_pickle=False) as data:
        rows: list[npt.NDArray[np.float32]] = [data[name].reshape(len(data[name]), -1) for name in inputs]
    return [row.tobytes() for row in np.concatenate(rows, axis=1)]


def shape(value: onnx.ValueInfoProto) -> tuple[int | str, ...]:
    """Return the dimensions of a graph input or output; dynamic ones as names."""
    return tuple(dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim)


def test_every_runtime_since_jetpack_4_reads_the_format(folder: Path) -> None:
    """The model has opset 13 and IR version 7, uses only the default domain, and passes the ONNX checker."""
    model = onnx.load(folder / "model.onnx")
    assert model.ir_version == 7
    assert [(item.domain, item.version) for item in model.opset_import] == [("", 13)]
    onnx.checker.check_model(model, full_check=True)


def test_inputs_and_outputs_are_those_of_the_readme(name: str, folder: Path) -> None:
    """Inputs and outputs have the stated names and shapes; the first dimension is dynamic and named ``batch``."""
    graph = onnx.load(folder / "model.onnx").graph
    inputs, outputs = SHAPES[name]
    assert {value.name: shape(value) for value in graph.input} == inputs
    assert {value.name: shape(value) for value in graph.output} == outputs


def test_every_node_has_a_unique_name(folder: Path) -> None:
    """Every node has a unique name, because reports refer to nodes by name."""
    names = [node.name for node in onnx.load(folder / "model.onnx").graph.node]
    assert all(names)
    assert len(set(names)) == len(names)


def test_the_model_names_its_origin(name: str, folder: Path) -> None:
    """The metadata names the training script, the seed and the training data."""
    facts = {item.key: item.value for item in onnx.load(folder / "model.onnx").metadata_props}
    assert facts["made_by"] == f"examples/{name}/train.py"
    assert {"seed", "training_data", "torch"} <= facts.keys()


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_outputs_do_not_depend_on_the_batch(name: str, folder: Path, batch: int) -> None:
    """A model runs with any batch size, and a sample has the same outputs as in a batch of one."""
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    with np.load(folder / "validation.npz", allow_pickle=False) as data:
        feeds = {item: data[item][:batch] for item in SHAPES[name][0]}
    together = session.run(None, feeds)
    for row in range(batch):
        alone = session.run(None, {item: array[row : row + 1] for item, array in feeds.items()})
        for single, batched in zip(alone, together, strict=True):
            np.testing.assert_allclose(single[0], batched[row], rtol=1e-4, atol=1e-4)


def test_no_sample_is_in_two_parts(name: str, folder: Path) -> None:
    """Train, validation and calibration data are disjoint by content, and none contains a sample twice."""
    inputs = list(SHAPES[name][0])
    parts = {part: samples(folder / f"{part}.npz", inputs) for part in COMPOSED.get(name, SPLITS)}
    for part, rows in parts.items():
        assert len(set(rows)) == len(rows), f"{part} contains a sample twice"
    assert len(set().union(*parts.values())) == sum(len(rows) for rows in parts.values())


def test_data_fits_the_model(name: str, folder: Path) -> None:
    """The arrays have the names and shapes of the inputs, and are finite float32."""
    for part in COMPOSED.get(name, SPLITS):
        with np.load(folder / f"{part}.npz", allow_pickle=False) as data:
            for item, dims in SHAPES[name][0].items():
                array = data[item]
                assert array.dtype == np.float32
                assert array.shape[1:] == dims[1:]
                assert np.isfinite(array).all()


def test_examples_stay_small(repository: Path) -> None:
    """All files under ``examples`` have less than 3 MB together."""
    files = [
        path for path in (repository / "examples").rglob("*") if path.is_file() and "__pycache__" not in path.parts
    ]
    assert 0 < sum(path.stat().st_size for path in files) < 3 * MEGABYTE


def test_the_oldest_runtime_reads_it(folder: Path, old_python: str) -> None:
    """ONNX Runtime 1.10 under Python 3.6, as on JetPack 4, runs the model on the validation data."""
    script = (
        "import sys, numpy, onnxruntime\n"
        "session = onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])\n"
        "data = numpy.load(sys.argv[2], allow_pickle=False)\n"
        "outputs = session.run(None, {i.name: data[i.name] for i in session.get_inputs()})\n"
        "print(all(numpy.isfinite(output).all() for output in outputs))\n"
    )
    command = [old_python, "-c", script, str(folder / "model.onnx"), str(folder / "validation.npz")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "True"
