"""Convert between the int64 tensors of a model and the int32 tensors of its engine: TensorRT before 10 has no int64.

An int64 input is refused if a value does not fit int32. No other dtype is converted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.errors import EngineError
from hil.runtimes import runtime_record
from hil.targets.engine_worker import EngineWorker

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy.typing as npt

    from hil.onnx_files.signature import Signature, TensorSpec
    from hil.targets.engine_worker import Named

WIDE, NARROW = "int64", "int32"
LIMITS = np.iinfo(np.int32)


def narrows(runtime: str, version: str) -> bool:
    """Return whether engines of this runtime have int32 where the model has int64; false for an unknown version."""
    major, since = re.match(r"\d+", version), runtime_record(runtime).int64_since
    return since is not None and major is not None and int(major[0]) < since


def narrowed(model: Sequence[TensorSpec], engine: Sequence[TensorSpec]) -> frozenset[str]:
    """Return the names of the tensors that are int64 in the model and int32 in the engine."""
    theirs = {spec.name: spec.dtype for spec in engine}
    return frozenset(spec.name for spec in model if (spec.dtype, theirs.get(spec.name)) == (WIDE, NARROW))


def with_model_dtypes(worker: EngineWorker, model: Signature, name: str) -> EngineWorker:
    """Return ``worker``, wrapped in a ``NarrowedWorker`` if its engine has int32 where ``model`` has int64.

    ``name`` is the name of the model.
    """
    inputs, outputs = narrowed(model.inputs, worker.inputs), narrowed(model.outputs, worker.outputs)
    return NarrowedWorker(worker, inputs, outputs, name) if inputs or outputs else worker


class NarrowedWorker(EngineWorker):
    """A worker that takes and returns int64 for an engine with int32.

    Its ``inputs`` and ``outputs`` still state int32.
    """

    def __init__(self, worker: EngineWorker, narrow: frozenset[str], widen: frozenset[str], name: str) -> None:
        """Take over the process of ``worker``, which must not be used afterwards."""
        vars(self).update(vars(worker))  # the same connection and process
        self._narrow = narrow
        self._widen = widen
        self._name = name

    def _order(self, feeds: Sequence[Mapping[str, Any]], fields: dict[str, Any]) -> tuple[dict[str, Any], Named]:
        """Return the fields and the named arrays of a request, with the feeds converted to int32."""
        return super()._order([self._narrowed_feed(feed) for feed in feeds], fields)

    def _adapted(self, op: str, named: Named) -> Named:
        return list(widen(named, self._widen)) if op in {"run", "sequence"} else named

    def _narrowed_feed(self, feed: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        return {key: narrow(key, value, self._name) if key in self._narrow else value for key, value in feed.items()}


def narrow(key: str, array: npt.NDArray[Any], model: str) -> npt.NDArray[Any]:
    """Return an int64 ``array`` as int32 with the same values, any other array unchanged.

    ``key`` is the input's name. Raise ``EngineError`` if a value does not fit.
    """
    if array.dtype.name != WIDE:
        return array
    if array.size:
        for value in (int(array.min()), int(array.max())):
            if not LIMITS.min <= value <= LIMITS.max:
                raise EngineError(
                    f"input {key!r} holds {value}, which does not fit int32, and TensorRT before 10 has no int64: "
                    f"model {model}: keep the values within int32, or use TensorRT 10 or later"
                )
    return array.astype(np.int32)


def widen(
    named: Iterable[tuple[str, npt.NDArray[Any]]], names: frozenset[str]
) -> Iterable[tuple[str, npt.NDArray[Any]]]:
    """Yield each output with its name; outputs in ``names`` are converted from int32 to int64."""
    for key, array in named:
        yield key, array.astype(np.int64) if key in names and array.dtype.name == NARROW else array
