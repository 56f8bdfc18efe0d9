"""A loaded plan, as ``TensorRt.load`` returns it."""

import contextlib
import mmap
import re
import traceback
from typing import Any, Dict, List, Mapping, Optional, Tuple

from ...failure import BUILD, ENGINE, UNSUPPORTED, Failure, short
from ..cuda import open_cuda
from ..interface import Bound, Engine, Feed, NodeCost
from ..recurrence import Recurrence
from . import api, inspector, profiler, recurrence, tensors
from .buffers import Pool
from .inference_slot import Resources, Slot

REFUSALS = (
    (
        r"not compatible with this version|[Vv]ersion tag does not match|incompatible serialization version",
        "the engine was not written by this version of TensorRT",
        "build it again with the version on the target",
    ),
    (
        r"incompatible device|expecting compute|[Pp]latform",
        "the engine was built for another GPU",
        "build it again on the target",
    ),
    (
        r"IPluginCreator not found|could not find plugin|[Pp]lugin .*not (found|registered)",
        "the engine needs a plugin that is not loaded",
        "add the plugin's library to plugins in [models.M.build]",
    ),
    (
        r"[Oo]ut ?[Oo]f ?[Mm]emory|amount of GPU memory|memory allocation failed|allocation failure",
        "the device does not have enough memory for the engine",
        "end other processes on the device, or build with a smaller batch or workspace",
    ),
    (
        r"kDLA_STANDALONE",
        "the engine is a loadable of cuDLA, not a plan of TensorRT",
        "build it with the standard engine capability",
    ),
    (
        r"LeanRuntime|lean runtime|EngineHostCodeAllowed",
        "the engine contains its own runtime, which is not executed",
        "build it for the version on the target, without version compatibility",
    ),
)
DAMAGED = ("the engine's file is damaged or not a TensorRT engine", "build it again, or pass the right file")


def explain(words: str) -> Tuple[str, str]:
    """Return what TensorRT's error lines about an engine mean, and advice; ``DAMAGED`` if the lines are not known."""
    for pattern, what, advice in REFUSALS:
        if re.search(pattern, words):
            return what, advice
    return DAMAGED


def load_engine(path: str, options: Mapping[str, Any], log: Any, trt: Any) -> "TensorRtEngine":
    """Load the plan at ``path``, after its plugins. Raise ``Failure``, with TensorRT's own message, if this fails.

    ``options``: ``gpu`` number, ``cuda`` binding, ``streams`` (contexts), ``cuda_graph``, ``io`` (``auto``, ``named``,
    ``bindings``), ``dla`` core, ``foreign`` (built elsewhere).
    """
    cuda = open_cuda(int(options.get("gpu") or 0), str(options.get("cuda") or "auto"))
    return TensorRtEngine(path, dict(options), log, trt, cuda)


def _deserialize(path: str, runtime: Any, log: Any) -> Any:
    engine = None
    try:
        with open(path, "rb") as file:
            # Map the file, so that a large plan is not in memory twice on a GPU that shares the machine's memory.
            plan = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            engine = runtime.deserialize_cuda_engine(plan)
        finally:
            with contextlib.suppress(BufferError):
                plan.close()
        words = log.errors()
    except ValueError:  # mmap raises it for an empty file
        words = "the file is empty"
    if engine is None:
        what, advice = explain(words)
        raise Failure(BUILD, "%s; TensorRT says: %s" % (what, short(words or "nothing")), advice)
    return engine


class TensorRtEngine(Engine):
    """Owns the CUDA context, the runtime and the engine; each slot is an execution context with its own stream."""

    def __init__(self, path: str, options: Dict[str, Any], log: Any, trt: Any, cuda: Any) -> None:
        self._path, self._options, self._log, self._trt, self._cuda = path, options, log, trt, cuda
        self.slots = int(options.get("streams") or 1)
        self._dla = options.get("dla")
        self._graph = bool(options.get("cuda_graph"))
        self._runtime: Any = None
        self._engine: Any = None
        self._pool: Any = None
        self._open_slots: Dict[int, Slot] = {}
        self._layers: Optional[List[Dict[str, Any]]] = None
        try:
            self._load()
        except BaseException as problem:
            # The frames' locals reference engine and context, which must be freed before the CUDA context.
            traceback.clear_frames(problem.__traceback__)
            self.close()  # frees TensorRT's objects before the CUDA context that they use
            raise
        log.clear()  # later messages are about running

    def _load(self) -> None:
        if self._graph and self._dla is not None:
            what = "work on a DLA core cannot be part of a CUDA graph"
            raise Failure(UNSUPPORTED, what, "set cuda_graph = false for this model, or leave out dla")
        self._runtime = self._new_runtime()
        self._engine = _deserialize(self._path, self._runtime, self._log)
        self._io = tensors.choose(self._engine, str(self._options.get("io") or "auto"))
        self._tensors = tensors.read(self._engine, self._io)
        self.inputs = tuple(tensor.port() for tensor in self._tensors if tensor.is_input)
        self.outputs = tuple(tensor.port() for tensor in self._tensors if not tensor.is_input)
        self._warnings = self._log.warnings()
        self._pool = Pool(self._cuda)
        for number in range(self.slots):  # create all slots now, so that memory readings include them
            self._slot(number)

    def _new_runtime(self) -> Any:
        try:
            runtime = self._trt.Runtime(self._log)
        except TypeError:  # pybind11 raises it if a constructor returns nothing
            what = "TensorRT's runtime cannot be started: %s" % short(self._log.errors() or "it gave no reason")
            raise Failure(UNSUPPORTED, what, "check the driver and CUDA of the target") from None
        if self._dla is not None:
            runtime.DLA_core = int(self._dla)
        return runtime

    def _refusal(self, what: str, advice: str) -> Failure:
        words = self._log.errors()
        return Failure(ENGINE, "%s; TensorRT says: %s" % (what, short(words)) if words else what, advice)

    def _slot(self, number: int) -> Slot:
        if number not in self._open_slots:
            if not 0 <= number < self.slots:
                what = "the engine was loaded for %d inferences in flight, not %d" % (self.slots, number + 1)
                raise Failure(UNSUPPORTED, what, "set streams in [models.M.run]")
            self._open_slots[number] = self._new_slot(graph=self._graph)
        return self._open_slots[number]

    def _new_slot(self, *, graph: bool) -> Slot:
        engine, context = self._engine, self._context(self._engine)
        # Before TensorRT 10 only one context at a time can use a profile of an engine, and 8.6 crashed when a second
        # context requested it. Each further context therefore gets its own engine, whose weights take memory again.
        if getattr(context, "active_optimization_profile", 0) != 0:
            context = None
            engine = _deserialize(self._path, self._runtime, self._log)
            self._log.clear()
            context = self._context(engine)
        resources = Resources(self._trt, self._cuda, self._tensors, self._pool, graph, self._refusal)
        return Slot(resources, tensors.calls(engine, context, self._io))

    def _context(self, engine: Any) -> Any:
        context = engine.create_execution_context()
        if context is None:
            advice = "follow TensorRT's message, or try another precision"
            raise self._refusal("TensorRT created no execution context", advice)
        return context

    def bind(self, feed: Feed, slot: int = 0) -> Bound:
        return self._slot(slot).bind(feed)

    def recurrence(self, carry: Mapping[str, str], begin: Feed) -> Recurrence:
        if not recurrence.on_device(self._tensors, carry):
            return super().recurrence(carry, begin)
        return recurrence.DeviceRecurrence(self, self._slot(0), carry, begin)

    def check(self, feed: Feed) -> None:
        super().check(feed)
        for tensor in self._tensors:
            if tensor.is_input and tensor.low:
                _within(tensor, feed[tensor.name].shape)

    def executed_on(self) -> Optional[Dict[str, Optional[str]]]:
        maybe = self._dla is not None or self._options.get("foreign")  # a foreign engine may have been built for a DLA
        on_dla = maybe and any(layer["device"] == "dla" for layer in self.layers() or ())
        return {"kind": "dla" if on_dla else "gpu", "name": self._cuda.name, "sm": self._cuda.sm}

    def facts(self) -> Dict[str, Any]:
        engine = self._engine
        return {
            "cuda": self._cuda.binding,
            "driver": self._cuda.driver,
            "io": self._io,
            "device_memory_size": api.device_memory_size(engine),
            "layers": int(engine.num_layers),
            "profiles": int(engine.num_optimization_profiles),
            "ranges": {tensor.name: [list(tensor.low), list(tensor.high)] for tensor in self._tensors if tensor.low},
            "warnings": self._warnings,
        }

    def method(self) -> Dict[str, Any]:
        waits = "stream synchronize"
        if any(slot.layout is not None and slot.layout.unsized for slot in self._open_slots.values()):
            waits += ", again after copying outputs of unknown shape"
        return {
            "transfers": "in and out, page-locked",
            "cuda_graph": self._graph,
            "sync": waits,
            "device_clock": "CUDA events around the enqueue",
            "streams": 1,
        }

    def device_bytes(self) -> Optional[int]:
        free, total = self._cuda.memory_info()
        return int(total - free)

    def layers(self) -> Optional[List[Dict[str, Any]]]:
        if self._layers is None:
            self._layers = inspector.layers(self._trt, self._engine, self._open_slots[0].calls.context)
        return self._layers

    def profile(self, feed: Feed, runs: int) -> List[NodeCost]:
        types = {layer["name"]: layer["type"] for layer in self.layers() or ()}
        slot = self._new_slot(graph=False)
        try:
            return profiler.costs(profiler.record(self._trt, slot, feed, runs), runs, types)
        finally:
            slot.close()

    def close(self) -> None:
        while self._open_slots:
            self._open_slots.popitem()[1].close()
        if self._pool is not None:
            self._pool.close()
        self._layers = self._engine = self._runtime = None  # in this order: a runtime must outlive its engines
        if self._cuda is not None:
            self._cuda.close()
        self._cuda = self._pool = None


def _within(tensor: tensors.Tensor, shape: Tuple[int, ...]) -> None:
    for at, (length, low, high) in enumerate(zip(shape, tensor.low, tensor.high)):
        if not low <= length <= high:
            what = "input %r has length %d in dimension %d; the engine was built for %d to %d" % (
                tensor.name,
                length,
                at,
                low,
                high,
            )
            raise Failure(ENGINE, what, "widen the range under shapes in hil.toml and build again")
