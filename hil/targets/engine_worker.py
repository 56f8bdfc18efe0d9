"""Provides the host's interface to one engine that is loaded on a target."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from hil.errors import HilError, WorkerLost
from hil.targets.answers import DeviceUse, MemoryUse, NodeTime, Soak, Timed, tensor_specs
from hil.targets.control import control_series, segments
from hil.targets.sequence_calls import SequenceCalls

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    import numpy.typing as npt
    from typing_extensions import Self

    from hil.onnx_files.signature import TensorSpec
    from hil.stats.control import ControlSeries
    from hil.targets.calls import AgentCalls
    from hil.targets.control import ControlOrder

    Named = list[tuple[str, npt.NDArray[Any]]]

MARGIN = 10.0
"""Seconds before a deadline at which a long measurement stops by itself, so that its samples can still be sent."""


class EngineWorker(SequenceCalls):
    """An engine loaded in a worker process of its own.

    Attributes:
        pid: the worker's process id on the target.
        inputs, outputs: names, dtypes and shapes as the runtime reports them.
        load: seconds ``import_seconds``, ``context_seconds``, ``load_seconds``, ``total_seconds`` (since the start);
            resident bytes ``memory_start``, ``memory_before`` (runtime imported), ``memory_after`` (engine loaded).
        executed_on: the processor: ``kind`` (gpu or dla), ``name``, ``sm``; ``None`` for the CPU.
        about: what the runtime reports about the loaded engine (bindings in use, sizes in bytes).
        carry: of a model with a state, the output that feeds each carried input. Timed feeds are then the steps of one
            repeated sequence.

    Every method except ``close`` raises ``EngineError`` if the engine fails, ``WorkerLost`` if the worker died or
    exceeded its ``deadline`` (seconds), ``LabError`` if the agent is lost.
    """

    def __init__(self, client: AgentCalls, loaded: Mapping[str, Any]) -> None:
        """Read the agent's answer to ``load``; called by ``AgentClient.load``."""
        self._client = client
        self._number: int = loaded["worker"]
        self.pid: int = loaded["pid"]
        self.inputs: tuple[TensorSpec, ...] = tensor_specs(loaded.get("inputs", ()))
        self.outputs: tuple[TensorSpec, ...] = tensor_specs(loaded.get("outputs", ()))
        self.load: Mapping[str, Any] = loaded.get("load", {})
        self.executed_on: Mapping[str, Any] | None = loaded.get("executed_on")
        self.about: Mapping[str, Any] = loaded.get("about") or {}
        self.carry: Mapping[str, str] = {}
        self.lost = False

    def __enter__(self) -> Self:
        """Return this worker."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the worker process, also after an error."""
        self.close()

    def _call(self, op: str, deadline: float, feeds: Sequence[Mapping[str, Any]] = (), **fields: Any) -> Any:
        with self._marks_loss():
            ok, named = self._client.call(op, *self._order(feeds, dict(fields, deadline=deadline)))
            return ok, self._adapted(op, named)

    def _call_many(self, op: str, deadline: float, feeds: Iterable[Mapping[str, Any]]) -> Generator[Any, None, None]:
        with self._marks_loss():
            orders = (self._order([feed], {"deadline": deadline}) for feed in feeds)
            with contextlib.closing(self._client.call_many(op, orders)) as replies:
                for ok, named in replies:
                    yield ok, self._adapted(op, named)

    def _order(self, feeds: Sequence[Mapping[str, Any]], fields: dict[str, Any]) -> tuple[dict[str, Any], Named]:
        """Return the fields and the named arrays of a request; a subclass may change the arrays of ``feeds``."""
        named = [(name, array) for feed in feeds for name, array in feed.items()]
        return dict(fields, worker=self._number, feeds=max(1, len(feeds))), named

    def _adapted(self, op: str, named: Named) -> Named:  # noqa: ARG002 - subclasses need it
        """Return the named arrays of an answer to ``op``; a subclass may change them."""
        return named

    @contextlib.contextmanager
    def _marks_loss(self) -> Iterator[None]:
        try:
            yield
        except WorkerLost:
            self.lost = True
            raise

    def run(self, feeds: Mapping[str, npt.NDArray[Any]], deadline: float = 60) -> list[tuple[str, npt.NDArray[Any]]]:
        """Run one inference; return the outputs in the engine's order."""
        outputs: list[tuple[str, npt.NDArray[Any]]] = self._call("run", deadline, [feeds])[1]
        return outputs

    def run_many(
        self, feeds: Iterable[Mapping[str, npt.NDArray[Any]]], deadline: float = 60
    ) -> Generator[list[tuple[str, npt.NDArray[Any]]], None, None]:
        """Run one inference for each of ``feeds``, and yield their outputs in this order.

        Many requests are in flight at once. ``feeds`` is consumed in the caller's thread, ahead of the answers. An
        error of the target or of ``feeds`` is raised after the outputs before it.
        """
        with contextlib.closing(self._call_many("run", deadline, feeds)) as replies:
            for _, outputs in replies:
                yield outputs

    def echo(self, feeds: Mapping[str, npt.NDArray[Any]], deadline: float = 60) -> list[tuple[str, npt.NDArray[Any]]]:
        """Return ``feeds`` as the worker sent them back; used to measure the transport."""
        outputs: list[tuple[str, npt.NDArray[Any]]] = self._call("echo", deadline, [feeds])[1]
        return outputs

    def time(  # noqa: PLR0913 - each is a choice of the method, named at the call
        self,
        feeds: Sequence[Mapping[str, npt.NDArray[Any]]],
        *,
        warmup: float,
        seconds: float,
        min_samples: int,
        max_samples: int,
        deadline: float | None = None,
        control: ControlOrder | None = None,
    ) -> Timed:
        """Warm up until durations are stable, then time inferences back to back, and return their times.

        The inferences cycle through ``feeds``.

        Warming up takes at most about 4 × ``warmup`` + 1 s. Timing stops once both ``seconds`` and ``min_samples`` are
        reached, at ``max_samples``, or shortly before ``deadline`` (seconds).

        ``control`` is timed in short windows before, between and after the inferences. ``telemetry["segments"]`` then
        has the number of inferences between two pauses.
        """
        window = {"seconds": seconds, "min_samples": min_samples, "max_samples": max_samples}
        return self._timed("time", feeds, deadline, control, warmup=warmup, **window)

    def throughput(  # noqa: PLR0913 - as for time
        self,
        feeds: Sequence[Mapping[str, npt.NDArray[Any]]],
        *,
        streams: int,
        warmup: float,
        seconds: float,
        min_samples: int,
        max_samples: int,
        deadline: float | None = None,
        control: ControlOrder | None = None,
    ) -> Timed:
        """Like ``time``, with ``streams`` inferences in flight; a duration is from an inference's start to its end.

        ``control`` is timed only before and after. Raises ``Unsupported`` if the engine was loaded for fewer streams,
        or its runtime is synchronous.
        """
        window = {"seconds": seconds, "min_samples": min_samples, "max_samples": max_samples}
        return self._timed("throughput", feeds, deadline, control, warmup=warmup, streams=streams, **window)

    def pace(  # noqa: PLR0913 - as for time
        self,
        feeds: Sequence[Mapping[str, npt.NDArray[Any]]],
        *,
        warmup: float,
        period: float,
        releases: int,
        deadline: float | None = None,
        control: ControlOrder | None = None,
    ) -> Timed:
        """Like ``time``, but at a fixed rate: inference k is released ``k * period`` seconds after the first release.

        After the warm-up, inferences run at this rate for another ``warmup`` seconds without being recorded.
        ``telemetry["pace"]`` has ``first`` (time of the first release, by the clock of ``start``), ``period`` and
        ``releases``. Timing stops early near ``deadline``. ``control`` is timed only before and after.
        """
        fields = {"seconds": period * releases, "period": period, "releases": releases}
        timed = self._timed("pace", feeds, deadline, control, warmup=warmup, **fields)
        with self._client.reading():
            pace = timed.telemetry["pace"]
            timed.telemetry["pace"] = {key: float(pace[key]) for key in ("first", "period", "releases")}
        return timed

    def _timed(
        self,
        op: str,
        feeds: Sequence[Mapping[str, npt.NDArray[Any]]],
        deadline: float | None,
        control: ControlOrder | None,
        **fields: Any,
    ) -> Timed:
        limit = deadline if deadline is not None else 5 * fields["warmup"] + 4 * fields["seconds"] + 60
        if control is not None:
            fields["control"] = control.fields
        fields["carry"] = dict(self.carry)
        ok, named = self._call(op, limit, feeds, budget=limit - min(MARGIN, limit / 5), **fields)
        with self._client.reading():
            series = dict(named)
            telemetry = dict(ok["telemetry"], warmup=ok["warmup"], state=ok.get("state"))
            if "pace" in ok:
                telemetry["pace"] = ok["pace"]
            runs, method, beside = int(ok["warmup"]["runs"]), ok["method"], None
            if control is not None:
                method["control"] = control.method
                telemetry |= segments(ok["control"], series["start"].size)
                beside = control_series(control.workload, ok["control"], series)
            columns = series["start"], series["duration"]
            return Timed(*columns, runs, method, telemetry, series.get("device"), beside)

    def control(self, control: ControlOrder, seconds: float, deadline: float = 60) -> ControlSeries | None:
        """Time the control alone, for at most its share of the ``seconds`` that a measurement took before.

        Return ``None`` if it could not be timed.
        """
        ok, named = self._call("control", deadline, control=control.fields, seconds=seconds)
        with self._client.reading():
            return control_series(control.workload, ok["control"], dict(named))

    def first(self, feeds: Mapping[str, npt.NDArray[Any]], deadline: float = 60) -> float:
        """Return the seconds of the first inference after the load. Raises ``EngineError`` if it is not the first."""
        ok = self._call("first", deadline, [feeds])[0]
        with self._client.reading():
            return float(ok["seconds"])

    def profile(self, feeds: Mapping[str, npt.NDArray[Any]], runs: int, deadline: float = 120) -> list[NodeTime]:
        """Return the mean seconds of the (at most 1000) slowest nodes, from ``runs`` inferences under the profiler."""
        ok = self._call("profile", deadline, [feeds], runs=runs)[0]
        with self._client.reading():
            return [NodeTime(node["name"], node["op"], node["seconds"]) for node in ok["nodes"]]

    def layers(self, deadline: float = 120) -> list[dict[str, Any]] | None:
        """Return the engine's layers as reported by the runtime's engine inspector; ``None`` without an inspector.

        Each layer has ``name``, ``type``, ``precision``, ``inputs`` and ``outputs`` (dtypes), ``device`` and ``onnx``.
        """
        ok = self._call("layers", deadline)[0]
        with self._client.reading():
            layers: list[dict[str, Any]] | None = ok["layers"]
            return layers

    def memory(self) -> MemoryUse:
        """Return the worker's current and peak memory."""
        fields = dict(self._call("memory", 30.0)[0])
        with self._client.reading():
            device = fields.pop("device", None)
            return MemoryUse(**fields, device=None if device is None else DeviceUse(**device))

    def soak(  # noqa: PLR0913 - the numbers and times that end a soak
        self,
        feeds: Mapping[str, npt.NDArray[Any]],
        most: int,
        seconds: float | None = None,
        fewest: int = 0,
        deadline: float | None = None,
        *,
        settled: int = 0,
        longest: float = 0.0,
    ) -> Soak:
        """Run ``most`` inferences, or as many as fit into ``seconds`` but at least ``fewest``; read memory meanwhile.

        After ``seconds``, the soak continues until ``settled`` inferences are done, if it then ends within ``longest``
        seconds in all. The result has some 200 to 1000 readings, at most one before each inference and one at the end.
        The soak ends early near ``deadline`` (seconds).
        """
        limit = deadline if deadline is not None else max(600.0, 2 * (seconds or 0.0))
        length = {"most": most, "seconds": seconds, "fewest": fewest, "budget": limit - min(MARGIN, limit / 5)}
        length |= {"settled": settled, "longest": longest}
        ok, named = self._call("soak", limit, [feeds], carry=dict(self.carry), **length)
        with self._client.reading():
            table = dict(named)
            flags = {name: bool(ok.get(name)) for name in ("by_process", "trimmed")}
            return Soak(table["t"], table["runs"], table["rss"], table.get("device"), **flags)

    def close(self, *, keep: bool = False) -> None:
        """End the worker process.

        If ``keep`` is true and it uses no GPU, keep it for a later load with ``fresh=False``. May be called twice. A
        ``HilError`` is ignored.
        """
        with contextlib.suppress(HilError):
            self._client.call("unload", {"worker": self._number, "keep": keep})
