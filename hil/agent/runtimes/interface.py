"""The interface of runtimes and engines, and the input checks that apply to every engine."""

from abc import ABC, abstractmethod
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from ..failure import ENGINE, Failure
from ..protocol.wire import name_of
from .bound import Bound, Feed
from .recurrence import Recurrence

__all__ = ["Bound", "Built", "Engine", "Feed", "NodeCost", "Port", "Runtime"]

Dim = Any  # int if fixed, str if the model names it, None if it is unnamed


class Port(NamedTuple):
    """An input or output; ``dtype`` is numpy's or ml_dtypes' name.

    A dimension in ``shape`` is an int, a str (its name) or None (any size).
    """

    name: str
    dtype: str
    shape: Tuple[Dim, ...]


class NodeCost(NamedTuple):
    """Mean ``seconds`` per run that a node takes under the runtime's own profiler."""

    name: str
    op: str
    seconds: float


class Built(NamedTuple):
    """Result of a build: ``path`` of the engine (of the model itself if nothing is compiled) and the log.

    ``facts`` are further fields of the build's record, such as the calibration data and whether caches were used.
    """

    path: str
    log: str
    facts: Mapping[str, Any] = {}


class Engine(ABC):
    """A loaded engine. Subclasses define ``inputs``, ``outputs``, ``bind`` and ``profile``.

    ``slots`` is the number of inferences that can be in flight at once.
    """

    inputs: Tuple[Port, ...] = ()
    outputs: Tuple[Port, ...] = ()
    slots = 1

    @abstractmethod
    def bind(self, feed: Feed, slot: int = 0) -> Bound:
        """Return ``feed``, which ``check`` has accepted, prepared to run in ``slot``."""

    def recurrence(self, carry: Mapping[str, str], begin: Feed) -> Recurrence:
        """Return a new sequence; ``carry`` and ``begin`` are those of ``Recurrence``.

        The states are in the host's memory; a runtime with a device overrides this.
        """
        return Recurrence(self, carry, begin)

    def executed_on(self) -> Optional[Dict[str, Optional[str]]]:
        """Return the processor that computes: ``kind`` (gpu, dla), ``name``, ``sm`` (``"8.7"``); None for the CPU."""
        return None

    def facts(self) -> Dict[str, Any]:
        """Return further facts about the loaded engine, such as its sizes in bytes."""
        return {}

    def layers(self) -> Optional[List[Dict[str, Any]]]:
        """Return what each layer executes, from the runtime's inspector; None if the runtime has no inspector."""
        return None

    def device_bytes(self) -> Optional[int]:
        """Return the bytes in use on the device, as its driver reports them; None without a device."""
        return None

    def method(self) -> Dict[str, Any]:
        """Return the parts of the runtime's set-up that belong to a measurement's method (threads, transfers, …)."""
        return {}

    @abstractmethod
    def profile(self, feed: Feed, runs: int) -> List[NodeCost]:
        """Return the mean seconds per node over ``runs`` runs, slowest node first."""

    def close(self) -> None:  # noqa: B027 - most runtimes have nothing to free
        """Free what the engine holds."""

    def check(self, feed: Feed) -> None:
        """Raise ``Failure`` if a feed does not fit the inputs; called before the runtime gets it."""
        fed, known = set(feed), {port.name for port in self.inputs}
        if fed != known:
            missing, extra = sorted(known - fed), sorted(fed - known)
            what = "input %r is missing" % missing[0] if missing else "input %r is unknown" % extra[0]
            raise _refused(what, "pass exactly these inputs: " + ", ".join(sorted(known)))
        sizes: Dict[str, int] = {}
        for port in self.inputs:
            _check_port(port, feed[port.name], sizes)


def _check_port(port: Port, array: Any, sizes: Dict[str, int]) -> None:
    expected = "%s[%s]" % (port.dtype, ", ".join("?" if dim is None else str(dim) for dim in port.shape))
    dtype = name_of(array.dtype)
    if dtype != port.dtype:
        raise _refused("input %r has dtype %s" % (port.name, dtype), "pass it as %s" % expected)
    if array.ndim != len(port.shape):
        raise _refused("input %r has rank %d" % (port.name, array.ndim), "pass it as %s" % expected)
    for at, (length, dim) in enumerate(zip(array.shape, port.shape)):
        required = sizes.setdefault(dim, length) if isinstance(dim, str) else dim
        if required is not None and length != required:
            what = "input %r has length %d in dimension %d, not %d" % (port.name, length, at, required)
            raise _refused(what, "pass it as %s; dimensions of the same name have the same length" % expected)


def _refused(what: str, advice: str) -> Failure:
    return Failure(ENGINE, what, advice)


class Runtime(ABC):
    """A runtime that builds and loads engines. A subclass imports its module only when needed.

    Attributes:
        uses_gpu: whether the runtime computes on a GPU.
        compiles: whether it builds a file for one kind of machine, with plugins and caches.
        precisions: all precisions that some version of the runtime supports on some device.
    """

    name = ""
    module = ""
    precisions: Tuple[str, ...] = ()
    uses_gpu = False
    compiles = False

    @abstractmethod
    def version(self) -> Optional[str]:
        """Return the runtime's version, or None if it is not installed."""

    def facts(self) -> Dict[str, Optional[str]]:
        """Return facts that an engine depends on: ``cuda``, ``gpu``, ``sm``, ``sms``, ``dla``.

        Unknown facts are left out.
        """
        return {}

    @abstractmethod
    def reason_against(self, precision: str) -> Optional[str]:
        """Return why ``precision`` is not supported here; None if it is."""

    def start(self, options: Mapping[str, Any]) -> None:  # noqa: B027 - a runtime without a device has nothing to open
        """Import the runtime and open its context on the device.

        A runtime with a ``gpu`` in its ``facts`` gets this call before ``load``, with the same ``options``.
        """

    @abstractmethod
    def build(self, model: str, precision: str, options: Mapping[str, Any], out: str) -> Built:
        """Build an engine from the ONNX file ``model``.

        Raise ``Failure`` if this fails.

        A runtime that ``compiles`` writes the engine to ``out``. ``options["more"]`` states that another build follows.
        """

    @abstractmethod
    def load(self, path: str, options: Mapping[str, Any]) -> Engine:
        """Load the engine at ``path``. Raise ``Failure``, with the runtime's own message, if this fails."""
