"""The implicit route without TensorRT: the callbacks are called as TensorRT's bindings call them."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.agent.failure import Failure
from hil.agent.runtimes.tensorrt import calibrator, digest_file, scales
from hil.agent.runtimes.tensorrt.batches import Batches, InputSpec

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

CACHE = b"TRT-8600-EntropyCalibration2\nx: 3c009976\nblock: 1/out: 3c010a14\n"
FED = b'{"consumed": {"x": "f"}, "samples": 6}\n'


def batches(folder: Path, array: npt.NDArray[Any], batch: int = 2, shape: tuple[int, ...] = (-1, 3)) -> Batches:
    """Return batches of one input ``x``."""
    np.save(folder / "x.npy", array)
    return Batches({"x": str(folder / "x.npy")}, {"x": InputSpec("float32", shape)}, batch, len(array))


DATA = np.arange(18, dtype=np.float32).reshape(6, 3)


class Device:
    """A stand-in for the device that stores the batches sent to it."""

    def __init__(self) -> None:
        self.batches: list[dict[str, Any]] = []

    def __call__(self, batch: Any, names: list[str]) -> list[int]:
        """Store the batch; return one address per name."""
        self.batches.append({name: array.copy() for name, array in batch.items()})
        return [4096 + at for at in range(len(names))]


def calibration(folder: Path, algorithm: str = "entropy2") -> tuple[calibrator.Calibration, Device]:
    """Return a calibration with three batches of ``DATA``."""
    device = Device()
    cache = str(folder / "cache")
    return calibrator.Calibration(algorithm, batches(folder, DATA), cache, device), device


def feed(state: calibrator.Calibration) -> None:
    """Request all batches, as TensorRT does in a build without a calibration cache."""
    state.read_cache()
    while state.get_batch(["x"]) is not None:
        pass


def test_all_batches_are_fed_and_hashed(tmp_path: Path) -> None:
    """Every sample is sent to the device once and in order; the digest is over the same bytes."""
    state, device = calibration(tmp_path)
    feed(state)
    state.write_cache(memoryview(CACHE))
    facts = state.finish()
    assert np.array_equal(np.concatenate([batch["x"] for batch in device.batches]), DATA)
    assert facts["consumed"] == {"x": hashlib.sha256(DATA.tobytes()).hexdigest()}
    assert (facts["cache"], facts["batches"], facts["samples"]) == ("written", 3, 6)
    assert facts["header"] == "TRT-8600-EntropyCalibration2"
    assert facts["scales"]["block: 1/out"] == pytest.approx(0.0078759, rel=1e-4)


def test_it_is_recorded_whether_the_cache_was_used(tmp_path: Path) -> None:
    """The facts record whether a build read the calibration cache of an earlier build or ignored it."""
    state, _ = calibration(tmp_path)
    feed(state)
    state.write_cache(CACHE)
    state.finish()
    reading, device = calibration(tmp_path)
    assert reading.read_cache() == CACHE
    facts = reading.finish()
    assert (facts["cache"], facts["batches"], facts["samples"]) == ("read", 0, 6)
    assert facts["consumed"] == {"x": hashlib.sha256(DATA.tobytes()).hexdigest()}
    assert not device.batches
    ignoring, _ = calibration(tmp_path)
    feed(ignoring)
    ignoring.write_cache(CACHE)
    assert ignoring.finish()["cache"] == "ignored"


def test_a_build_that_requests_no_data_fails(tmp_path: Path) -> None:
    """An int8 engine whose build requested neither the calibration cache nor data is refused."""
    state, _ = calibration(tmp_path)
    state.write_cache(CACHE)
    with pytest.raises(Failure, match="without asking for calibration data"):
        state.finish()
    digest_file.write(str(tmp_path / "cache"), FED + CACHE)
    unread, _ = calibration(tmp_path)
    with pytest.raises(Failure, match="without asking"):
        unread.finish()


def test_too_few_batches_or_no_scales_fail(tmp_path: Path) -> None:
    """A calibration that stops early, or writes no scales of its algorithm, is refused."""
    state, _ = calibration(tmp_path)
    state.get_batch(["x"])
    state.write_cache(CACHE)
    with pytest.raises(Failure, match="1 of 3 calibration batches"):
        state.finish()
    for cache, why in (
        (None, "wrote no scales of EntropyCalibration2"),
        (b"", "that cannot be read: no header line"),
        (b"TRT-8600-EntropyCalibration2\n", "without a single scale"),
        (CACHE + b"y: 3c00997g\n", "that cannot be read: the line 'y: 3c00997g'"),
        (CACHE.replace(b"Entropy", b"MinMax"), "with the header 'TRT-8600-MinMaxCalibration2'"),
    ):
        state, _ = calibration(tmp_path)
        feed(state)
        if cache is not None:
            state.write_cache(cache)
        with pytest.raises(Failure, match=why):
            state.finish()
    assert not (tmp_path / "cache").exists()


def test_an_unusable_cache_is_not_offered(tmp_path: Path) -> None:
    """A calibration cache that is damaged, or written by another algorithm, is not used, and a warning reports this."""
    path = tmp_path / "cache"
    digest_file.write(str(path), FED + CACHE)
    assert calibration(tmp_path, "minmax")[0].read_cache() is None
    path.write_bytes(path.read_bytes()[:-3])
    state, _ = calibration(tmp_path)
    assert state.read_cache() is None
    assert "damaged" in state.warnings[0]
    for note in (b"", b'{"samples": 0, "consumed": {"x": "f"}}\n', b'{"samples": 6, "consumed": {}}\n', b"[]\n"):
        digest_file.write(str(path), note + CACHE)  # a cache that does not name its data
        assert calibration(tmp_path)[0].read_cache() is None


def test_a_failure_in_a_callback_is_not_lost(tmp_path: Path) -> None:
    """An exception in a calibrator's callback fails the build, although TensorRT only prints it and continues."""
    bad = DATA.copy()
    bad[3, 1] = np.nan
    state = calibrator.Calibration("entropy2", batches(tmp_path, bad), None, Device())
    feed(state)
    state.write_cache(CACHE)
    with pytest.raises(Failure, match="NaN or infinity in samples 2 to 3"):
        state.finish()

    def broken(batch: Any, names: list[str]) -> list[int]:  # noqa: ARG001 - as the real one
        raise RuntimeError("no device")

    state = calibrator.Calibration("entropy2", batches(tmp_path, DATA), None, broken)
    feed(state)
    with pytest.raises(Failure, match="RuntimeError: no device"):
        state.finish()
    state, _ = calibration(tmp_path)
    state.get_batch(["y"])
    with pytest.raises(Failure, match="requests calibration data for"):
        state.finish()


@pytest.mark.parametrize(
    ("array", "batch", "shape", "message"),
    [
        (DATA[:5], 2, (-1, 3), "5 calibration samples do not make whole batches of 2"),
        (DATA[:0], 2, (-1, 3), "0 calibration samples"),
        (DATA.astype(np.float64), 2, (-1, 3), "dtype float64"),
        (DATA, 2, (-1, 4), r"shape \[6, 3\]"),
        (DATA, 2, (1, 3), "fixed batch"),
        (DATA, 2, (-1, 3, 1), r"shape \[6, 3\]"),
        (np.asfortranarray(DATA), 2, (-1, 3), "Fortran"),
        (DATA.astype(">f4"), 2, (-1, 3), "byte-swapped"),
    ],
)
def test_data_that_does_not_fit_is_refused(
    array: npt.NDArray[Any], batch: int, shape: tuple[int, ...], message: str, tmp_path: Path
) -> None:
    """Incomplete batches, no samples, wrong dtypes and shapes are refused before anything is built."""
    with pytest.raises(Failure) as caught:
        batches(tmp_path, array, batch, shape)
    assert re.search(message, caught.value.message + caught.value.advice)


def test_other_inputs_and_pickles_are_refused(tmp_path: Path) -> None:
    """Data for other inputs, and a file that contains objects, are refused."""
    np.save(tmp_path / "o.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(Failure, match="cannot be read"):
        Batches({"x": str(tmp_path / "o.npy")}, {"x": InputSpec("float32", (1,))}, 1, 1)
    with pytest.raises(Failure, match=r"for inputs \['x'\], but the network has \['y'\]"):
        Batches({"x": str(tmp_path / "o.npy")}, {"y": InputSpec("float32", (1,))}, 1, 1)


def test_int64_is_narrowed_exactly(tmp_path: Path) -> None:
    """int64 data of an int32 input is fed as int32; a value that does not fit is refused, not truncated."""
    np.save(tmp_path / "i.npy", np.array([[1], [-(2**31)]]))
    fed = Batches({"i": str(tmp_path / "i.npy")}, {"i": InputSpec("int32", (-1, 1))}, 2, 2).take()["i"]
    assert fed.dtype == np.int32
    assert fed.tolist() == [[1], [-(2**31)]]
    np.save(tmp_path / "i.npy", np.array([[1], [2**31]]))
    with pytest.raises(Failure, match="values outside int32"):
        Batches({"i": str(tmp_path / "i.npy")}, {"i": InputSpec("int32", (-1, 1))}, 2, 2).take()


def test_the_scales_of_a_record_are_bounded() -> None:
    """The scales of a record, written as JSON with its escapes, never exceed the size limit."""
    names = 2000
    fitting = scales.bounded({"\x00" * 60 + str(number): -1.2345678901234567e-300 for number in range(names)})
    assert 0 < len(fitting) < names
    assert len(json.dumps(fitting)) <= scales.MAX_RECORDED


@given(
    st.dictionaries(st.text(st.characters(codec="ascii", exclude_categories=["C"]), min_size=1), st.floats(width=32))
)
def test_scales_are_read_back(table: dict[str, float]) -> None:
    """Scales in TensorRT's format are read back, also for names with colons; NaN becomes None."""
    digits = {name: struct.pack("!f", value).hex().lstrip("0") or "0" for name, value in table.items()}
    lines = ["TRT-8600-MinMaxCalibration", *(f"{name}: {scale}" for name, scale in digits.items())]
    scales_read = scales.decode("\n".join(lines).encode()).by_tensor
    assert scales_read == {name: v if abs(v) < float("inf") else None for name, v in table.items()}


@pytest.mark.parametrize("cache", [b"", b"x: 3c009976", b"TRT-8600-EntropyCalibration2\nx 3c009976", b"\xff\xfe"])
def test_a_file_that_is_not_a_cache_is_refused(cache: bytes) -> None:
    """A file without the header line, or with a malformed line, is not a calibration cache."""
    with pytest.raises(ValueError, match="line"):
        scales.decode(cache)


def test_without_calibrators_the_explicit_route_is_advised() -> None:
    """If TensorRT has no calibrators, the advice names the explicit route."""
    with pytest.raises(Failure, match="no calibrators") as caught:
        calibrator.base_class(object(), "entropy2")
    assert 'route = "explicit"' in caught.value.advice
