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
from hil.session.engines.int64 import LIMITS, NarrowedWorker, narrow, narrowed, narrows, widen, with_model_dtypes
from hil.targets.engine_worker import EngineWorker

if TYPE_CHECKING:
    from collections.abc import Iterator

IDS = TensorSpec("ids", "int64", ("batch", 4))
MASK = TensorSpec("mask", "bool", ("batch", 4))
TOP = TensorSpec("top", "int64", ("batch",))
MODEL = Signature((IDS, MASK), (TOP,))


class Client:
    """Stand-in for an agent whose engine has ``ids`` as int32 and returns their sum as int32."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, Any], list[tuple[str, Any]]]] = []

    def call(self, op: str, fields: dict[str, Any], named: list[tuple[str, Any]] = []) -> Any:  # noqa: B006 - never changed
        """Record the request and return its answer."""
        self.requests.append((op, fields, list(named)))
        return {"seconds": 0.5}, [("top", dict(named)["ids"].sum(axis=1, dtype=np.int32))] if named else []

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Do nothing: reading an answer cannot fail here."""
        yield


def worker(client: Client, ids: str = "int32", top: str = "int32") -> EngineWorker:
    """Return a loaded engine with these dtypes."""
    port = {"ids": ids, "mask": "bool"}
    loaded = {
        "worker": 3,
        "pid": 4,
        "inputs": [{"name": name, "dtype": dtype, "shape": (None, 4)} for name, dtype in port.items()],
        "outputs": [{"name": "top", "dtype": top, "shape": (None,)}],
        "executed_on": {"kind": "gpu", "name": "NVIDIA H200", "sm": "9.0"},
    }
    return EngineWorker(client, loaded)  # type: ignore[arg-type]  # the part of a client that a worker uses


FEED = {"ids": np.array([[1, 2, 3, LIMITS.max]], np.int64) - 6, "mask": np.ones((1, 4), bool)}


@pytest.mark.parametrize(
    ("runtime", "version", "narrowing"),
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
def test_only_tensorrt_before_10_narrows(runtime: str, version: str, *, narrowing: bool) -> None:
    """Only TensorRT before 10 may have int32 for int64; a later or unknown version and another runtime may not."""
    assert narrows(runtime, version) is narrowing


@pytest.mark.parametrize(("ours", "theirs"), [("float64", "float32"), ("int32", "int64"), ("uint64", "int32")])
def test_no_other_pair_is_converted(ours: str, theirs: str) -> None:
    """Only int64 in the model with int32 in the engine is converted; other pairs would change values silently."""
    model, engine = (TensorSpec("x", dtype, (1,)) for dtype in (ours, theirs))
    assert not narrowed([model], [engine])


def test_a_worker_with_the_models_dtypes_is_unchanged() -> None:
    """A worker whose engine has the model's dtypes is returned as it is."""
    plain = worker(Client(), ids="int64", top="int64")
    assert with_model_dtypes(plain, MODEL, "bert") is plain


def test_feeds_are_narrowed_and_outputs_widened() -> None:
    """A caller uses the model's dtypes; the worker's ports keep the engine's."""
    client = Client()
    fit = with_model_dtypes(worker(client), MODEL, "bert")
    assert isinstance(fit, NarrowedWorker)
    ((name, top),) = fit.run(FEED)
    assert (name, top.dtype.name, top.tolist()) == ("top", "int64", [LIMITS.max - 18])
    sent = dict(client.requests[0][2])
    assert (sent["ids"].dtype.name, sent["mask"].dtype.name) == ("int32", "bool")
    assert (sent["ids"] == FEED["ids"]).all()
    assert [port.dtype for port in fit.inputs] == ["int32", "bool"]
    assert (fit.pid, fit.executed_on) == (4, {"kind": "gpu", "name": "NVIDIA H200", "sm": "9.0"})


def test_every_request_with_tensors_is_narrowed() -> None:
    """First inference and timing narrow their feeds as runs do."""
    client = Client()
    fit = with_model_dtypes(worker(client), MODEL, "bert")
    assert fit.first(FEED) == 0.5
    with pytest.raises(KeyError):  # this client returns no series
        fit.time([FEED, FEED], warmup=0.0, seconds=0.1, min_samples=1, max_samples=1)
    assert {array.dtype.name for _, _, named in client.requests for name, array in named if name == "ids"} == {"int32"}


@pytest.mark.parametrize("value", [LIMITS.max + 1, LIMITS.min - 1, 2**40])
def test_a_value_that_does_not_fit_is_refused(value: int) -> None:
    """A value outside of int32 is refused with its input's name, and nothing is sent."""
    client = Client()
    bad = {**FEED, "ids": np.array([[0, value, 0, 0]], np.int64)}
    with pytest.raises(EngineError, match=rf"input 'ids' holds {value}.*model bert"):
        with_model_dtypes(worker(client), MODEL, "bert").run(bad)
    assert not client.requests


@given(hnp.arrays(np.int64, st.integers(0, 8), elements=st.integers(-(2**33), 2**33)))
def test_narrowing_keeps_every_value_or_refuses(array: np.ndarray[Any, Any]) -> None:
    """An array that fits is unchanged after narrowing and widening; any other is refused."""
    fits = all(LIMITS.min <= int(value) <= LIMITS.max for value in array)
    if not fits:
        with pytest.raises(EngineError):
            narrow("x", array, "m")
        return
    narrow_array = narrow("x", array, "m")
    ((_, back),) = widen([("x", narrow_array)], frozenset({"x"}))
    assert narrow_array.dtype.name == "int32"
    assert (back.dtype.name, back.tolist()) == ("int64", array.tolist())


@pytest.mark.parametrize("dtype", ["float64", "float32", "int32", "uint8"])
def test_another_dtype_is_not_narrowed(dtype: str) -> None:
    """An array of another dtype is passed unchanged, so that the engine refuses it."""
    array = np.zeros(3, dtype)
    assert narrow("x", array, "m") is array
