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
    """Stands for the agent's ``put_blob`` alone: keeps what each file held at that moment."""

    kept: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)

    def put_blob(self, path: Path) -> str:
        """The digest by which the array is kept."""
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        self.kept[digest] = np.load(path, allow_pickle=False)
        return digest


def data_of(arrays: dict[str, np.ndarray[Any, Any]]) -> MemoryData:
    """The arrays as a data set."""
    return MemoryData(synthetic=False, **arrays)


def streamed(
    tmp_path: Path,
    arrays: dict[str, np.ndarray[Any, Any]],
    batch: int | None = None,
    *,
    narrow: bool = True,
    **keys: Any,
) -> tuple[implicit_calibration.Streamed, Store]:
    """``arrays`` sent for a model whose first dimension is ``batch``."""
    model = tmp_path / "model.onnx"
    model.write_bytes(b"model")
    inputs = tuple(TensorSpec(n, a.dtype.name, (batch or "n", *a.shape[1:])) for n, a in arrays.items())
    store = Store()
    made = stream(
        cast("AgentClient", store),
        path=model,
        name="m",
        signature=Signature(inputs, ()),
        data=data_of(arrays),
        spec=CalibrationSpec(data="c.npz", route="implicit", **keys),
        cache=tmp_path / "cache",
        narrow=narrow,
    )
    return made, store


def images(count: int = 12) -> dict[str, np.ndarray[Any, Any]]:
    """Samples of two inputs, one of them integers."""
    rng = np.random.default_rng(3)
    ids = rng.integers(0, 9, (count, 2))
    return {"x": rng.normal(size=(count, 3, 4)).astype(np.float32), "ids": ids.astype(np.int64)}


def test_the_target_gets_what_was_declared(tmp_path: Path) -> None:
    """Each input's samples whole and in order; integers as TensorRT holds them; nothing is left behind."""
    arrays = images()
    made, store = streamed(tmp_path, arrays, samples=10)
    got = {name: store.kept[digest] for name, digest in made.data.items()}
    assert np.array_equal(got["x"], arrays["x"][:10])
    assert (got["ids"].dtype, got["ids"].tolist()) == (np.dtype(np.int32), arrays["ids"][:10].tolist())
    assert made.fed == {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in got.items()}
    assert made.samples_digest == samples_digest(data_of(arrays), 10)
    assert not list((tmp_path / "cache").iterdir())


def test_the_option_is_what_the_agent_is_told(tmp_path: Path) -> None:
    """Algorithm in TensorRT's words, a batch without remainder, blobs by input."""
    made, _ = streamed(tmp_path, images(), samples=10, method="minmax")
    assert made.option() == {"algorithm": "minmax", "batch": 10, "samples": 10, "data": made.data}
    assert streamed(tmp_path, images(), method="entropy")[0].algorithm == "entropy2"
    assert streamed(tmp_path, images(), batch=4)[0].batch == 4


@given(st.integers(1, 2000), st.integers(1, 64))
def test_no_sample_is_left_over(samples: int, most: int) -> None:
    """A calibrator that drops the last, shorter batch would calibrate on fewer samples than were declared."""
    batch = divisor(samples, most)
    assert samples % batch == 0
    assert batch <= most


@pytest.mark.parametrize(
    ("changed", "part"),
    [({"method": "minmax"}, "method"), ({"samples": 7}, "samples")],
)
def test_the_key_is_of_all_that_ranges_depend_on(tmp_path: Path, changed: dict[str, Any], part: str) -> None:
    """Another method, another number of samples, other data, another model: another key."""
    one, _ = streamed(tmp_path, images())
    other, _ = streamed(tmp_path, images(), **changed)
    assert one.key != other.key
    assert one.parts[part] != other.parts[part]
    data = images()
    data["x"] = data["x"] + 1
    assert streamed(tmp_path, data)[0].key != one.key
    (tmp_path / "model.onnx").write_bytes(b"another")
    again = key_parts(tmp_path / "model.onnx", data_of(images()), CalibrationSpec(data="c.npz", route="implicit"))
    assert {key for key in again if again[key] != one.parts[key]} == {"model"}


def test_too_little_data_is_refused(tmp_path: Path) -> None:
    """Fewer samples than asked for would be other ranges under the same key."""
    with pytest.raises(UserError, match=r"asks for 13 samples, .* has 12"):
        streamed(tmp_path, images(), samples=13)


def test_a_source_that_ends_early_is_refused(tmp_path: Path) -> None:
    """The rest of the file would be zeros, and zeros would be calibrated on."""
    writer = Writer(tmp_path, 5, "m")
    writer.write({"x": np.ones((4, 2), np.float32)})
    with pytest.raises(UserError, match="4 of 5 samples"):
        writer.finish()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    """One NaN makes every range NaN, or none, without a word."""
    arrays = images()
    arrays["x"][5, 0, 0] = value
    with pytest.raises(UserError, match=r"NaN or infinity near sample \d+: model m, input 'x'"):
        streamed(tmp_path, arrays)


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1])
def test_integers_that_do_not_fit_are_refused(tmp_path: Path, value: int) -> None:
    """Wrapped around they would be other samples."""
    arrays = images()
    arrays["ids"][3, 1] = value
    with pytest.raises(UserError, match="does not fit int32"):
        streamed(tmp_path, arrays)


def test_where_there_is_int64_it_stays(tmp_path: Path) -> None:
    """TensorRT 10 takes such inputs as they are: as int32 the calibrator would read two of them as one."""
    arrays = images()
    arrays["ids"][0, 0] = 2**40
    made, store = streamed(tmp_path, arrays, narrow=False)
    assert store.kept[made.data["ids"]].tolist() == arrays["ids"].tolist()


def test_a_method_that_tensorrt_has_not_is_refused(tmp_path: Path) -> None:
    """Percentile would silently be another algorithm."""
    with pytest.raises(UserError, match=r"TensorRT has no percentile calibrator: .* 'entropy' or 'minmax'"):
        streamed(tmp_path, images(), method="percentile")


def test_memory_is_that_of_a_batch(tmp_path: Path) -> None:
    """The samples go to the file as they come; none is kept."""
    writer = Writer(tmp_path, 1000, "m")
    for start in range(0, 1000, 10):
        writer.write({"x": np.full((10, 64), start, np.float32)})
    (path,) = writer.finish().values()
    assert isinstance(np.load(path, mmap_mode="r"), np.memmap)
    assert np.load(path, mmap_mode="r")[:, 0].tolist() == [float(row // 10 * 10) for row in range(1000)]


def test_headers_name_the_algorithm() -> None:
    """TensorRT's cache begins with ``TRT-8600-EntropyCalibration2`` or ``TRT-8600-MinMaxCalibration``."""
    assert {implicit_calibration.expected_header(one) for one in implicit_calibration.ALGORITHMS.values()} == {
        "EntropyCalibration2",
        "MinMaxCalibration",
    }
