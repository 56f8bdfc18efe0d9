from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hil.errors import EngineError
from hil.onnx_files.signature import Signature, TensorSpec
from hil.session.engines.int64 import LIMITS, NarrowedWorker, fitted, narrow, narrowed, narrows, widen
from hil.targets.engine_worker import EngineWorker

if TYPE_CHECKING:
    from collections.abc import Iterator

IDS = TensorSpec("ids", "int64", ("batch", 4))
MASK = TensorSpec("mask", "bool", ("batch", 4))
TOP = TensorSpec("top", "int64", ("batch",))
MODEL = Signature((IDS, MASK), (TOP,))


class Client:
    """Answers as an agent whose engine takes ``ids`` as int32 and gives their sum as int32."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any], list[tuple[str, Any]]]] = []

    def call(self, op: str, fields: dict[str, Any], named: list[tuple[str, Any]] = []) -> Any:  # noqa: B006 - not kept
        """Notes what came and answers."""
        self.asked.append((op, fields, list(named)))
        return {"seconds": 0.5}, [("top", dict(named)["ids"].sum(axis=1, dtype=np.int32))] if named else []

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Its answers are sound."""
        yield


def worker(client: Client, ids: str = "int32", top: str = "int32") -> EngineWorker:
    """A loaded engine with these dtypes."""
    port = {"ids": ids, "mask": "bool"}
    loaded = {
        "worker": 3,
        "pid": 4,
        "inputs": [{"name": name, "dtype": dtype, "shape": (None, 4)} for name, dtype in port.items()],
        "outputs": [{"name": "top", "dtype": top, "shape": (None,)}],
        "executed_on": {"kind": "gpu", "name": "NVIDIA H200", "sm": "9.0"},
    }
    return EngineWorker(client, loaded)  # type: ignore[arg-type]  # as much of a client as a worker asks of it


FEED = {"ids": np.array([[1, 2, 3, LIMITS.max]], np.int64) - 6, "mask": np.ones((1, 4), bool)}


@pytest.mark.parametrize(
    ("runtime", "version", "does"),
    [
        ("tensorrt", "8.6.0", True),
        ("tensorrt", "9.3", True),
        ("tensorrt", "10.0.0", False),
        ("tensorrt", "11.1", False),
        ("tensorrt", "", False),
        ("tensorrt", "unknown", False),
        ("onnxruntime", "1.23.2", False),
    ],
)
def test_only_tensorrt_before_10_is_excused(runtime: str, version: str, *, does: bool) -> None:
    """A runtime that has int64 has no reason to give int32, and a version nobody knows has none either."""
    assert narrows(runtime, version) is does


@pytest.mark.parametrize(("ours", "theirs"), [("float64", "float32"), ("int32", "int64"), ("uint64", "int32")])
def test_no_other_pair_is_converted(ours: str, theirs: str) -> None:
    """Only int64 in the model and int32 in the engine: anything else would change values in silence."""
    model, engine = (TensorSpec("x", dtype, (1,)) for dtype in (ours, theirs))
    assert not narrowed([model], [engine])


def test_a_worker_that_fits_stays_as_it_is() -> None:
    """Where the engine has the model's dtypes nothing stands between."""
    plain = worker(Client(), ids="int64", top="int64")
    assert fitted(plain, MODEL, "bert") is plain


def test_feeds_are_narrowed_and_outputs_widened() -> None:
    """Whoever runs it sees the model's dtypes; the engine's own stay on record."""
    client = Client()
    fit = fitted(worker(client), MODEL, "bert")
    assert isinstance(fit, NarrowedWorker)
    ((name, top),) = fit.run(FEED)
    assert (name, top.dtype.name, top.tolist()) == ("top", "int64", [LIMITS.max - 18])
    sent = dict(client.asked[0][2])
    assert (sent["ids"].dtype.name, sent["mask"].dtype.name) == ("int32", "bool")
    assert (sent["ids"] == FEED["ids"]).all()
    assert [port.dtype for port in fit.inputs] == ["int32", "bool"]
    assert (fit.pid, fit.executed_on) == (4, {"kind": "gpu", "name": "NVIDIA H200", "sm": "9.0"})


def test_every_request_with_tensors_is_narrowed() -> None:
    """Not only runs: what is timed, soaked or profiled is fed alike."""
    client = Client()
    fit = fitted(worker(client), MODEL, "bert")
    assert fit.first(FEED) == 0.5
    with pytest.raises(KeyError):  # this client has no series to give
        fit.time([FEED, FEED], warmup=0.0, seconds=0.1, min_samples=1, max_samples=1)
    assert {array.dtype.name for _, _, named in client.asked for name, array in named if name == "ids"} == {"int32"}


@pytest.mark.parametrize("value", [LIMITS.max + 1, LIMITS.min - 1, 2**40])
def test_a_value_that_does_not_fit_is_refused(value: int) -> None:
    """Named with its input; nothing is sent."""
    client = Client()
    bad = {**FEED, "ids": np.array([[0, value, 0, 0]], np.int64)}
    with pytest.raises(EngineError, match=rf"input 'ids' holds {value}.*model bert"):
        fitted(worker(client), MODEL, "bert").run(bad)
    assert not client.asked


@given(hnp.arrays(np.int64, st.integers(0, 8), elements=st.integers(-(2**33), 2**33)))
def test_narrowing_keeps_every_value_or_refuses(array: np.ndarray[Any, Any]) -> None:
    """There and back again is the same array, whatever is in it."""
    fits = all(LIMITS.min <= int(value) <= LIMITS.max for value in array)
    if not fits:
        with pytest.raises(EngineError):
            narrow("x", array, "m")
        return
    there = narrow("x", array, "m")
    ((_, back),) = widen([("x", there)], frozenset({"x"}))
    assert there.dtype.name == "int32"
    assert (back.dtype.name, back.tolist()) == ("int64", array.tolist())


@pytest.mark.parametrize("dtype", ["float64", "float32", "int32", "uint8"])
def test_another_dtype_is_left_for_the_engine_to_refuse(dtype: str) -> None:
    """A float that happens to be whole is still no token id."""
    array = np.zeros(3, dtype)
    assert narrow("x", array, "m") is array
