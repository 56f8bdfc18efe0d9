"""Controls the conditions of a measurement: reports the state, stops services, locks clocks, runs loads.

Changes and loads last at most until this process ends.
"""

import contextlib
import os
import threading
import time
from typing import Any, Callable, Dict, List, Optional, Union

from .. import failure
from ..failure import Failure
from ..machine.root_helper import PROGRAM, Helper
from ..machine.state import StateReader
from ..store.transfers import Reply
from . import co_runner, load_processes

SETTLE = 0.5  # seconds for a co-runner to start up, or to fail
START = 20.0  # seconds until a load reports that it is ready, in addition to the time to fill memory
BYTES_PER_SECOND = 50e6  # lower bound of the rate at which the slowest board fills memory
LEFT_FREE = 64 << 20
MOST_SERVICES = 32
RESTORE_COMMAND = "sudo %s < /dev/null" % PROGRAM
"""Makes the helper undo its recorded changes, as it does at every start."""


class Conditions:
    """The agent's operations on the machine's state, as part of ``service.Service``.

    ``lock`` is the lock by which a session holds this target. ``nvml`` maps a GPU's number to its ``nvml.Nvml``, or to
    None if NVML cannot read the GPU.
    """

    def __init__(
        self, supervisor: Any, lock: Any, nvml: Callable[[int], Any], reader: Optional[StateReader] = None
    ) -> None:
        self.supervisor = supervisor
        self.lock = lock
        self.nvml = nvml
        self.reader = reader or StateReader(archive=supervisor.archive)
        self.helper: Optional[Helper] = None
        self._refused = ""
        self._changed: List[str] = []  # orders to the helper that must be undone
        self._services: List[str] = []
        self.loads: List[co_runner.Load] = []
        self._alone = contextlib.ExitStack()
        self.table: Dict[str, Callable[[Dict[str, Any]], Reply]] = {
            "state": self.state,
            "prepare": self.prepare,
            "restore": self.restore,
            "load_begin": self.load_begin,
            "load_end": self.load_end,
        }

    def state(self, request: Dict[str, Any]) -> Reply:
        """Return the machine's current state, as ``StateReader.snapshot`` does.

        The request has ``gpu``, the number of the GPU to query (None: no GPU), and ``quick``, an option of
        ``snapshot``. In the reply, ``load_ended`` has a message for each load that ended too early.
        """
        quick = bool(request.get("quick"))
        gpu = None if request.get("gpu") is None else self.nvml(int(request["gpu"]))
        return {"ok": self._state(gpu, quick=quick)}, []

    def _state(self, gpu: Any, *, quick: bool = False) -> Dict[str, Any]:
        """Return the state, as ``state`` does.

        If ``quick`` is false and ``prepare`` stopped services, ``services`` has systemd's state of each of them, or
        None where it is unknown.
        """
        privileged = None if quick else self._privileged()
        state = self.meanwhile(lambda: self.reader.snapshot(gpu, privileged, quick=quick))
        if not quick and self._services:
            state["services"] = {name: self._service_state(name) for name in self._services}
        state["load_ended"] = self._ended()
        return state

    def _service_state(self, name: str) -> Optional[str]:
        state = self.helper.ask("service", "show", name).get("state") if self.helper is not None else None
        return state if isinstance(state, str) and state else None

    def meanwhile(self, work: Callable[[], Dict[str, Any]]) -> Dict[str, Any]:
        """Return the result of ``work``, and send signs of life to the host meanwhile."""
        results: List[Union[Dict[str, Any], BaseException]] = []

        def target() -> None:
            try:
                results.append(work())
            except BaseException as error:  # noqa: BLE001 - raised again below, in the thread that asked
                results.append(error)

        thread = threading.Thread(target=target, daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(0.2)
            self.supervisor.beat()
        (result,) = results
        if isinstance(result, BaseException):
            raise result
        return result

    def _must_hold(self) -> None:
        if not self.lock.held:
            what = "conditions are changed only by the session that holds the target"
            raise Failure(failure.PROTOCOL, what, "hold it first")

    def around(self, watch: Any) -> Dict[str, Any]:
        """Return the state as ``state`` does, for the GPU of ``watch`` (``device_memory.Watch``; None: no GPU)."""
        return self._state(None if watch is None else watch.device.gpu)

    def _privileged(self) -> Dict[str, Any]:
        """Return ``nvmap`` and ``emc`` as the root helper reads them; what it cannot read is left out."""
        helper = self._open_helper()
        if helper is None:
            return {}
        values: Dict[str, Any] = {}
        nvmap, emc = helper.ask("nvmap"), helper.ask("emc")
        if nvmap.get("ok"):
            values["nvmap"] = nvmap.get("text")
        if emc.get("ok"):
            values["emc"] = {"cur": emc.get("rate"), "min": emc.get("min_rate"), "max": emc.get("max_rate")}
        return values

    def _open_helper(self) -> Optional[Helper]:
        """Return the root helper, which the first call opens; None if that fails, with the reason in ``_refused``."""
        if self.helper is None and not self._refused:
            self.helper = Helper.open(self.supervisor.beat)
            self._refused = "" if self.helper else Helper.why_not
        return self.helper

    def prepare(self, request: Dict[str, Any]) -> Reply:
        """Stop ``services`` and, if ``lock`` is true, lock the clocks, until ``restore`` or this process's end.

        In the reply, ``helper`` is true if the root helper carried out the orders that ``done`` lists. Without a root
        helper, it is None if the clocks, the only request, were locked already; otherwise it is false, and ``why_not``
        has the reason. Raise ``Failure`` if this session does not hold the target, or if the helper refuses an order;
        the earlier orders are then undone.
        """
        self._must_hold()
        services, lock = [str(name) for name in request["services"]], bool(request["lock"])
        if len(services) > MOST_SERVICES:
            raise Failure(failure.PROTOCOL, "%d services are too many: at most %d" % (len(services), MOST_SERVICES))
        # Open the helper first: it undoes what a dead helper left, such as a lock of the clocks.
        helper = self._open_helper()
        if helper is None and lock and not services and self._state(None).get("locked"):
            return {"ok": {"helper": None, "done": ["the clocks were locked already"]}}, []
        if helper is None:
            return {"ok": {"helper": False, "why_not": self._refused}}, []
        orders = [("service", "stop", name) for name in services] + ([("clocks", "lock")] if lock else [])
        for order in orders:
            words = " ".join(order)
            self._changed.append(words)
            answer = helper.ask(*order)
            if not answer.get("ok"):
                what = "the root helper refused '%s': %s" % (words, failure.short(answer.get("error"), 500))
                what += _unrestored(self._undo())
                raise Failure(failure.INTERNAL, what, "correct this on the target, or run 'hil board setup' again")
        self._services = services
        return {"ok": {"helper": True, "done": list(self._changed)}}, []

    def restore(self, request: Dict[str, Any]) -> Reply:  # noqa: ARG002 - as every operation
        """Undo what ``prepare`` did.

        In the reply, ``left`` lists what could not be undone: ``what``, ``why`` and ``mend``, the command that undoes
        it on the target.
        """
        return {"ok": {"left": self._undo()}}, []

    def _undo(self) -> List[Dict[str, str]]:
        changed, self._changed, self._services = self._changed, [], []
        helper, self.helper = self.helper, None
        if helper is None:
            return []
        try:
            answer = helper.ask("restore") if changed else {"ok": True}
        finally:
            helper.close()
        if not answer.get("ok"):
            answer = self._restore_with_new_helper()
        if answer.get("ok"):
            left = answer.get("left") or []
            return [{key: str(change.get(key)) for key in ("what", "why", "mend")} for change in left]
        why = failure.short(answer.get("error"), 300)
        return [{"what": ", ".join(changed), "why": why, "mend": RESTORE_COMMAND}]

    def _restore_with_new_helper(self) -> Dict[str, Any]:
        """Start a new helper and return its answer to ``restore``."""
        helper = Helper.open(self.supervisor.beat)
        if helper is None:
            return {"ok": False, "error": Helper.why_not}
        try:
            return helper.ask("restore")
        finally:
            helper.close()

    def load_begin(self, request: Dict[str, Any]) -> Reply:
        """End the running loads; then reserve ``reserve`` bytes, and run the command ``co_runner`` (a list of words).

        The request may lack either key. The loads run until ``load_end``. In the reply, ``loads`` has the report of
        each. Raise ``Failure`` if this session does not hold the target, an earlier load cannot be ended, or a load
        does not start.
        """
        self._must_hold()
        _refuse(self._end_loads())
        # Another agent of this session must not run its loads at the same time: they would add up.
        self._alone.enter_context(self.supervisor.turn(os.path.join(self.lock.root, "load.lock")))
        load_processes.sweep(self._place(), self.supervisor.beat)  # left by an agent that was killed with its loads
        size, command = request.get("reserve"), request.get("co_runner")
        try:
            if size:
                self._check_room(int(size))
                self._start(co_runner.RESERVE, [str(int(size))], START + int(size) / BYTES_PER_SECOND)
            if command:
                self._start(co_runner.RUN, [str(word) for word in command], START)
                self._pause(SETTLE)
        except Failure as problem:
            left = self._end_loads()
            if left:
                raise Failure(problem.kind, problem.message + "; " + _remains(left), problem.advice) from None
            raise
        except BaseException:
            self._end_loads()
            raise
        return {"ok": {"loads": [dict(load.ready or {}, kind=load.kind) for load in self.loads]}}, []

    def load_end(self, request: Dict[str, Any]) -> Reply:  # noqa: ARG002 - as every operation
        """End the loads.

        In the reply, ``ended`` has a message for each load that ended before this request.

        Raise ``Failure`` if a process cannot be killed and so still loads the board.
        """
        ended = self._ended()
        _refuse(self._end_loads())
        return {"ok": {"ended": ended}}, []

    def _place(self) -> str:
        return os.path.realpath(self.lock.root)

    def _check_room(self, size: int) -> None:
        free = self.reader.memory({}).get("memory_available")
        if free is not None and free < size + LEFT_FREE:
            what = "%d MiB cannot be reserved: %d MiB are available" % (size >> 20, free >> 20)
            raise Failure(failure.INTERNAL, what, "lower reserve_memory, or free memory on the target")

    def _start(self, kind: str, words: List[str], deadline: float) -> None:
        load = co_runner.Load(self.supervisor.archive, kind, words, self._place())
        self.loads.append(load)
        try:
            self.supervisor.wait_until(load.read_reports, deadline, 0.01)
        except TimeoutError:
            load.ended = "it was not ready within %g s" % deadline
        if load.ready is None:
            what = "%s did not start: %s" % (co_runner.NAMES[kind], load.ended)
            raise Failure(failure.INTERNAL, what, "correct %s in the config" % co_runner.NAMES[kind])

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self.supervisor.wait_until(lambda: time.monotonic() >= end, seconds + 1, 0.05)

    def _ended(self) -> List[str]:
        messages = []
        for load in self.loads:
            load.read_reports()
            if load.ended is not None:
                messages.append("%s did not run all the time: %s" % (co_runner.NAMES[load.kind], load.ended))
        return messages

    def _end_loads(self) -> Dict[int, str]:
        """End the loads, the newest first. Return the commands of processes that could not be killed, by process id."""
        left: Dict[int, str] = {}
        while self.loads:
            load = self.loads.pop()
            load.close(self.supervisor.beat)
            left.update(load.left)
        self._alone.close()
        return left


def _unrestored(left: List[Dict[str, str]]) -> str:
    return "".join("; %(what)s was not restored (%(why)s): run `%(mend)s` on the target" % change for change in left)


def _remains(left: Dict[int, str]) -> str:
    listed = ", ".join("%d (%s)" % (pid, command or "of another user") for pid, command in sorted(left.items()))
    return "processes started by co_runner cannot be ended from here: process %s" % listed


def _refuse(left: Dict[int, str]) -> None:
    if left:
        advice = "end them on the target (`sudo kill -9 %s`), and start nothing as another user (sudo) in co_runner"
        raise Failure(failure.INTERNAL, _remains(left), advice % " ".join(map(str, sorted(left))))
