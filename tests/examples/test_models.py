"""Rules for every bundled model and data set."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

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
    "filter": (
        {"encoder": ("batch", 6), "torque": ("batch", 6), "estimate": ("batch", 12), "memory": ("batch", 32)},
        {
            "position": ("batch", 6),
            "velocity": ("batch", 6),
            "next_estimate": ("batch", 12),
            "next_memory": ("batch", 32),
        },
    ),
}
STATES = {"filter": ("estimate", "memory")}
"""The state inputs of each example with sequences. The data lacks them: a sequence begins with states of 0."""

SPLITS = ("train", "validation", "calibration")
COMPOSED = {"scenes": ("validation", "calibration"), "filter": ("validation", "calibration")}
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


def inputs(name: str, path: Path) -> dict[str, npt.NDArray[np.float32]]:
    """Return a file's samples by input. Each step of a sequence is a sample, with zeros as its states."""
    with np.load(path, allow_pickle=False) as data:
        arrays = {item: data[item] for item in SHAPES[name][0] if item not in STATES.get(name, ())}
    if name not in STATES:
        return arrays
    steps = {item: array.reshape(-1, *array.shape[2:]) for item, array in arrays.items()}
    count = len(next(iter(steps.values())))
    widths = {item: int(SHAPES[name][0][item][1]) for item in STATES[name]}
    return steps | {item: np.zeros((count, width), np.float32) for item, width in widths.items()}


def samples(name: str, path: Path) -> list[bytes]:
    """Return the bytes of each sample over all inputs."""
    rows = [array.reshape(len(array), -1) for array in inputs(name, path).values()]
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
    taken, outputs = SHAPES[name]
    assert {value.name: shape(value) for value in graph.input} == taken
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
    feeds = {item: array[:batch] for item, array in inputs(name, folder / "validation.npz").items()}
    together = session.run(None, feeds)
    for row in range(batch):
        alone = session.run(None, {item: array[row : row + 1] for item, array in feeds.items()})
        for single, batched in zip(alone, together, strict=True):
            np.testing.assert_allclose(single[0], batched[row], rtol=1e-4, atol=1e-4)


def test_no_sample_is_in_two_parts(name: str, folder: Path) -> None:
    """Train, validation and calibration data are disjoint by content, and none contains a sample twice."""
    parts = {part: samples(name, folder / f"{part}.npz") for part in COMPOSED.get(name, SPLITS)}
    for part, rows in parts.items():
        assert len(set(rows)) == len(rows), f"{part} contains a sample twice"
    assert len(set().union(*parts.values())) == sum(len(rows) for rows in parts.values())


def test_data_fits_the_model(name: str, folder: Path) -> None:
    """The arrays have the names and shapes of the inputs, and are finite float32."""
    for part in COMPOSED.get(name, SPLITS):
        for item, array in inputs(name, folder / f"{part}.npz").items():
            assert array.dtype == np.float32
            assert array.shape[1:] == SHAPES[name][0][item][1:]
            assert np.isfinite(array).all()


def test_examples_stay_small(repository: Path) -> None:
    """All files under ``examples`` together are smaller than 3 MB."""
    files = [
        path for path in (repository / "examples").rglob("*") if path.is_file() and "__pycache__" not in path.parts
    ]
    assert 0 < sum(path.stat().st_size for path in files) < 3 * MEGABYTE


def test_the_oldest_runtime_reads_it(name: str, folder: Path, old_python: str, tmp_path: Path) -> None:
    """ONNX Runtime 1.10 under Python 3.6, as on JetPack 4, runs the model on the validation data."""
    script = (
        "import sys, numpy, onnxruntime\n"
        "session = onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])\n"
        "data = numpy.load(sys.argv[2], allow_pickle=False)\n"
        "outputs = session.run(None, {i.name: data[i.name] for i in session.get_inputs()})\n"
        "print(all(numpy.isfinite(output).all() for output in outputs))\n"
    )
    feeds: dict[str, Any] = dict(inputs(name, folder / "validation.npz"))
    np.savez(tmp_path / "inputs.npz", **feeds)
    command = [old_python, "-c", script, str(folder / "model.onnx"), str(tmp_path / "inputs.npz")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "True"
