from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.config.spec import CalibrationSpec
from hil.errors import UserError
from hil.onnx_files.signature import Signature, TensorSpec
from hil.quantize import samples_digest
from hil.session.engines import implicit_calibration
from hil.session.engines.implicit_calibration import Writer, divisor, key_parts, stream
from tests.memory_data import MemoryData

if TYPE_CHECKING:
    from pathlib import Path

    from hil.targets.client import AgentClient


@dataclass
class Store:
    """Stand-in for the agent's ``put_blob``: stores each file's array at that moment."""

    arrays: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)

    def put_blob(self, path: Path) -> str:
        """Store the array and return its digest."""
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        self.arrays[digest] = np.load(path, allow_pickle=False)
        return digest


def data_of(arrays: dict[str, np.ndarray[Any, Any]]) -> MemoryData:
    """Return the arrays as a data set."""
    return MemoryData(synthetic=False, **arrays)


def stream_to_store(
    tmp_path: Path,
    arrays: dict[str, np.ndarray[Any, Any]],
    batch: int | None = None,
    *,
    narrow: bool = True,
    **keys: Any,
) -> tuple[implicit_calibration.Streamed, Store]:
    """Stream ``arrays`` for a model whose first dimension is ``batch``."""
    model = tmp_path / "model.onnx"
    model.write_bytes(b"model")
    inputs = tuple(TensorSpec(n, a.dtype.name, (batch or "n", *a.shape[1:])) for n, a in arrays.items())
    store, data = Store(), data_of(arrays)
    data.stride = batch
    made = stream(
        cast("AgentClient", store),
        path=model,
        name="m",
        signature=Signature(inputs, ()),
        data=data,
        spec=CalibrationSpec(data="c.npz", route="implicit", **keys),
        cache=tmp_path / "cache",
        narrow=narrow,
    )
    return made, store


def images(count: int = 12) -> dict[str, np.ndarray[Any, Any]]:
    """Return samples of two inputs, one of them integers."""
    rng = np.random.default_rng(3)
    ids = rng.integers(0, 9, (count, 2))
    return {"x": rng.normal(size=(count, 3, 4)).astype(np.float32), "ids": ids.astype(np.int64)}


def test_the_declared_samples_are_streamed(tmp_path: Path) -> None:
    """Each input's declared samples are sent in order, integers as int32, and no local file is left."""
    arrays = images()
    made, store = stream_to_store(tmp_path, arrays, samples=10)
    received = {name: store.arrays[digest] for name, digest in made.data.items()}
    assert np.array_equal(received["x"], arrays["x"][:10])
    assert (received["ids"].dtype, received["ids"].tolist()) == (np.dtype(np.int32), arrays["ids"][:10].tolist())
    assert made.fed == {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in received.items()}
    assert made.samples_digest == samples_digest(data_of(arrays), 10)
    assert not list((tmp_path / "cache").iterdir())


def test_the_options_for_the_agent(tmp_path: Path) -> None:
    """The option has TensorRT's name of the algorithm, a batch without remainder, and the blobs by input."""
    made, _ = stream_to_store(tmp_path, images(), samples=10, method="minmax")
    assert made.option() == {"algorithm": "minmax", "batch": 10, "samples": 10, "data": made.data}
    assert stream_to_store(tmp_path, images(), method="entropy")[0].algorithm == "entropy2"
    assert stream_to_store(tmp_path, images(), batch=4)[0].batch == 4


@given(st.integers(1, 2000), st.integers(1, 64))
def test_the_batch_divides_the_samples(samples: int, most: int) -> None:
    """The batch divides the number of samples, because a calibrator may drop a shorter last batch."""
    batch = divisor(samples, most)
    assert samples % batch == 0
    assert batch <= most


@pytest.mark.parametrize(
    ("changed", "part"),
    [({"method": "minmax"}, "method"), ({"samples": 7}, "samples")],
)
def test_the_key_covers_method_samples_data_and_model(tmp_path: Path, changed: dict[str, Any], part: str) -> None:
    """A different method, number of samples, data set or model changes the key."""
    base, _ = stream_to_store(tmp_path, images())
    other, _ = stream_to_store(tmp_path, images(), **changed)
    assert base.key != other.key
    assert base.parts[part] != other.parts[part]
    data = images()
    data["x"] = data["x"] + 1
    assert stream_to_store(tmp_path, data)[0].key != base.key
    (tmp_path / "model.onnx").write_bytes(b"another")
    again = key_parts(tmp_path / "model.onnx", data_of(images()), CalibrationSpec(data="c.npz", route="implicit"))
    assert {key for key in again if again[key] != base.parts[key]} == {"model"}


def test_too_little_data_is_refused(tmp_path: Path) -> None:
    """Fewer samples than requested are refused: they would give other ranges under the same key."""
    with pytest.raises(UserError, match=r"asks for 13 samples, .* has 12"):
        stream_to_store(tmp_path, images(), samples=13)


def test_a_source_that_ends_early_is_refused(tmp_path: Path) -> None:
    """A source with fewer samples than it declared is refused: the rest of the file would be zeros."""
    writer = Writer(tmp_path, 5, "m")
    writer.write({"x": np.ones((4, 2), np.float32)})
    with pytest.raises(UserError, match="4 of 5 samples"):
        writer.finish()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_samples_are_refused(tmp_path: Path, value: float) -> None:
    """Samples with NaN or infinity are refused with input and position."""
    arrays = images()
    arrays["x"][5, 0, 0] = value
    with pytest.raises(UserError, match=r"NaN or infinity near sample \d+: model m, input 'x'"):
        stream_to_store(tmp_path, arrays)


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1])
def test_integers_that_do_not_fit_are_refused(tmp_path: Path, value: int) -> None:
    """An integer outside of int32 is refused instead of wrapped around."""
    arrays = images()
    arrays["ids"][3, 1] = value
    with pytest.raises(UserError, match="does not fit int32"):
        stream_to_store(tmp_path, arrays)


def test_int64_is_not_narrowed_from_tensorrt_10(tmp_path: Path) -> None:
    """For TensorRT 10, int64 inputs are streamed as int64."""
    arrays = images()
    arrays["ids"][0, 0] = 2**40
    made, store = stream_to_store(tmp_path, arrays, narrow=False)
    assert store.arrays[made.data["ids"]].tolist() == arrays["ids"].tolist()


def test_a_method_unsupported_by_tensorrt_is_refused(tmp_path: Path) -> None:
    """Percentile calibration is refused, with the methods that TensorRT has."""
    with pytest.raises(UserError, match=r"TensorRT has no percentile calibrator: .* 'entropy' or 'minmax'"):
        stream_to_store(tmp_path, images(), method="percentile")


def test_samples_are_written_batch_by_batch(tmp_path: Path) -> None:
    """Batches are written to the mapped file in order."""
    writer = Writer(tmp_path, 1000, "m")
    for start in range(0, 1000, 10):
        writer.write({"x": np.full((10, 64), start, np.float32)})
    (path,) = writer.finish().values()
    assert isinstance(np.load(path, mmap_mode="r"), np.memmap)
    assert np.load(path, mmap_mode="r")[:, 0].tolist() == [float(row // 10 * 10) for row in range(1000)]


def test_headers_name_the_algorithm() -> None:
    """The expected header names are those of TensorRT's caches, such as ``TRT-8600-EntropyCalibration2``."""
    assert {
        implicit_calibration.expected_header(algorithm) for algorithm in implicit_calibration.ALGORITHMS.values()
    } == {
        "EntropyCalibration2",
        "MinMaxCalibration",
    }
