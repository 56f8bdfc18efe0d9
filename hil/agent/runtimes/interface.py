"""What the agent asks of a runtime and of an engine, and the checks that hold for each of them."""

from abc import ABC, abstractmethod
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Tuple

from ..failure import ENGINE, Failure

Dim = Any  # int where fixed, str where the model names it, None where it says nothing
Feed = Mapping[str, Any]


class Port(NamedTuple):
    """An input or output: ``dtype`` is numpy's name, ``shape`` has int, str (named) or None (any) dimensions."""

    name: str
    dtype: str
    shape: Tuple[Dim, ...]


class NodeCost(NamedTuple):
    """Mean ``seconds`` a run that a node takes under the runtime's own profiler."""

    name: str
    op: str
    seconds: float


class Built(NamedTuple):
    """What a build left: ``path`` of the engine (the model's own where nothing is compiled) and the log.

    ``facts`` is what else the record should hold: what calibration consumed, whether caches were used.
    """

    path: str
    log: str
    facts: Mapping[str, Any] = {}


class Bound:
    """A feed that is ready to run again and again.

    ``run()`` does it once and returns the outputs in the engine's order; they stay valid until the next
    run of the same slot. ``start()`` and ``finish()`` are its two halves, where a runtime can have several
    in flight: ``start`` returns once the work is handed over, ``finish`` waits for it and returns the
    outputs. ``device_seconds()`` is the last finished run's time on the device, where there is such a clock.
    """

    def __init__(
        self,
        run: Callable[[], Any],
        start: Optional[Callable[[], None]] = None,
        finish: Optional[Callable[[], Any]] = None,
        device_seconds: Optional[Callable[[], float]] = None,
        close: Optional[Callable[[], None]] = None,
    ) -> None:
        self.run = run
        self.start = start
        self.finish = finish
        self.device_seconds = device_seconds
        self._close = close

    def close(self) -> None:
        """Gives back what the feed holds; the engine stays."""
        if self._close is not None:
            self._close()


class Engine(ABC):
    """A loaded engine. Subclasses give ``inputs``, ``outputs``, ``bind`` and ``profile``.

    ``slots`` is how many inferences it can have in flight at once.
    """

    inputs: Tuple[Port, ...] = ()
    outputs: Tuple[Port, ...] = ()
    slots = 1

    @abstractmethod
    def bind(self, feed: Feed, slot: int = 0) -> Bound:
        """``feed``, already checked, made ready to run in ``slot``."""

    def executed_on(self) -> Optional[Dict[str, Optional[str]]]:
        """The processor that does the work: ``kind`` (gpu, dla), ``name``, ``sm`` (``"8.7"``); None is the CPU."""
        return None

    def facts(self) -> Dict[str, Any]:
        """What is worth recording of the loaded engine beside its method (bindings in use, sizes in bytes)."""
        return {}

    def layers(self) -> Optional[List[Dict[str, Any]]]:
        """What each layer became, as the runtime's own inspector tells it; None where it has none."""
        return None

    def device_bytes(self) -> Optional[int]:
        """Bytes in use on the device, as its driver tells this process; None where there is no device."""
        return None

    def method(self) -> Dict[str, Any]:
        """What about the runtime's set-up belongs to the method of a measurement (threads, transfers, …)."""
        return {}

    @abstractmethod
    def profile(self, feed: Feed, runs: int) -> List[NodeCost]:
        """Seconds by node, slowest first; on a separate engine, so that nothing timed has a profiler attached."""

    def close(self) -> None:  # noqa: B027 - most runtimes free nothing by hand
        """Frees what the engine holds."""

    def check(self, feed: Feed) -> None:
        """Raises ``Failure`` for a feed that does not fit the inputs; runs before the runtime sees it."""
        given, known = set(feed), {port.name for port in self.inputs}
        if given != known:
            missing, extra = sorted(known - given), sorted(given - known)
            what = "input %r is missing" % missing[0] if missing else "input %r is unknown" % extra[0]
            raise _refused(what, "the engine takes " + ", ".join(sorted(known)))
        named: Dict[str, int] = {}
        for port in self.inputs:
            _check_port(port, feed[port.name], named)


def _check_port(port: Port, array: Any, named: Dict[str, int]) -> None:
    expected = "%s[%s]" % (port.dtype, ", ".join("?" if dim is None else str(dim) for dim in port.shape))
    if array.dtype.name != port.dtype:
        raise _refused("input %r has dtype %s" % (port.name, array.dtype.name), "give it as %s" % expected)
    if array.ndim != len(port.shape):
        raise _refused("input %r has rank %d" % (port.name, array.ndim), "give it as %s" % expected)
    for at, (length, dim) in enumerate(zip(array.shape, port.shape)):
        wanted = named.setdefault(dim, length) if isinstance(dim, str) else dim
        if wanted is not None and length != wanted:
            what = "input %r has length %d in dimension %d, not %d" % (port.name, length, at, wanted)
            raise _refused(what, "give it as %s, equal names being equal lengths" % expected)


def _refused(what: str, advice: str) -> Failure:
    return Failure(ENGINE, what, advice)


class Runtime(ABC):
    """A runtime that builds and loads engines. Subclasses import it only when they need it.

    ``name``: as in ``hil.toml``. ``module``: the Python module that it imports. ``uses_gpu``: it computes on a GPU.
    ``compiles``: it builds a file for one kind of machine, with plugins and caches. ``precisions``: all that any
    version and device of it supports. ``hil.runtimes`` states the same on the host.
    """

    name = ""
    module = ""
    precisions: Tuple[str, ...] = ()
    uses_gpu = False
    compiles = False

    @abstractmethod
    def version(self) -> Optional[str]:
        """Its version, None where it is not installed."""

    def facts(self) -> Dict[str, Optional[str]]:
        """Facts that an engine depends on: ``cuda``, ``gpu``, ``sm``, ``sms``, ``dla``; absent ones are left out."""
        return {}

    @abstractmethod
    def reason_against(self, precision: str) -> Optional[str]:
        """Why it cannot do ``precision``; None where it can."""

    def start(self, options: Mapping[str, Any]) -> None:  # noqa: B027 - a runtime without a device has nothing to open
        """Imports the runtime and opens its context on the device, so that memory without an engine can be read.

        Called before ``load`` with the same ``options``, on the same object, where ``facts`` names a ``gpu``.
        """

    @abstractmethod
    def build(self, model: str, precision: str, options: Mapping[str, Any], out: str) -> Built:
        """Makes an engine from the ONNX file ``model``; may write it to ``out``. Raises ``Failure``.

        With ``options["more"]`` it may keep what the next build on the same object can use again.
        """

    @abstractmethod
    def load(self, path: str, options: Mapping[str, Any]) -> Engine:
        """Loads the engine at ``path``. Raises ``Failure`` with the runtime's own words."""
