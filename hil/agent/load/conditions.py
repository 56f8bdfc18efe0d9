"""The conditions under which is measured: state told, services and clocks set through the root helper, loads held.

What is set or held here lasts until it is taken back or this process ends, however it ends: the helper restores when
its input closes, and a load ends when its own does.
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

SETTLE = 0.5  # seconds a co-runner has to get going, or to fail
START = 20.0
BYTES_PER_SECOND = 50e6  # at least; what filling memory takes on the slowest board
LEFT_FREE = 64 << 20
MOST_SERVICES = 32
BY_HAND = "sudo %s < /dev/null" % PROGRAM
"""Has the helper undo what is on its list, as each one does when it starts."""


class Conditions:
    """The operations of ``service.Service`` on the machine's state.

    ``lock`` is the session's on this target, ``nvml`` gives a GPU's ``nvml.Nvml`` by its number, or None.
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
        self._changed: List[str] = []  # orders to the helper that are to be taken back
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
        """``StateReader.snapshot`` now; ``gpu`` numbers the one whose driver is asked, ``quick`` as there.

        ``load_ended`` tells what of the loads that are to be there has ended by itself.
        """
        quick = bool(request.get("quick"))
        gpu = None if request.get("gpu") is None else self.nvml(int(request["gpu"]))
        return {"ok": self._told(gpu, quick=quick)}, []

    def _told(self, gpu: Any, *, quick: bool = False) -> Dict[str, Any]:
        """``services`` are those that ``prepare`` stopped, each as systemd has it now, None where nobody can tell."""
        privileged = None if quick else self._privileged()
        told = self.meanwhile(lambda: self.reader.snapshot(gpu, privileged, quick=quick))
        if not quick and self._services:
            told["services"] = {name: self._shown(name) for name in self._services}
        told["load_ended"] = self._ended()
        return told

    def _shown(self, name: str) -> Optional[str]:
        found = self.helper.ask("service", "show", name).get("state") if self.helper is not None else None
        return found if isinstance(found, str) and found else None

    def meanwhile(self, work: Callable[[], Dict[str, Any]]) -> Dict[str, Any]:
        """What ``work`` returns; the host is told that we live, for one program that hangs may take seconds."""
        done: List[Union[Dict[str, Any], BaseException]] = []

        def worked() -> None:
            try:
                done.append(work())
            except BaseException as error:  # noqa: BLE001 - raised again below, in the thread that asked
                done.append(error)

        thread = threading.Thread(target=worked, daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(0.2)
            self.supervisor.beat()
        (found,) = done
        if isinstance(found, BaseException):
            raise found
        return found

    def _must_hold(self) -> None:
        if not self.lock.held:
            what = "the conditions are set only by who holds the target"
            raise Failure(failure.PROTOCOL, what, "hold it first")

    def around(self, watch: Any) -> Dict[str, Any]:
        """The state right before or after a timed window, for whoever has the turn; ``watch`` is its worker's."""
        return self._told(None if watch is None else watch.device.gpu)

    def _privileged(self) -> Dict[str, Any]:
        """What root alone may read, where its helper is there; nothing else where it is not, or refuses."""
        helper = self._opened()
        if helper is None:
            return {}
        found: Dict[str, Any] = {}
        nvmap, emc = helper.ask("nvmap"), helper.ask("emc")
        if nvmap.get("ok"):
            found["nvmap"] = nvmap.get("text")
        if emc.get("ok"):
            found["emc"] = {"cur": emc.get("rate"), "min": emc.get("min_rate"), "max": emc.get("max_rate")}
        return found

    def _opened(self) -> Optional[Helper]:
        """The helper, asked for once; None where it cannot be had, with ``Helper.why_not``."""
        if self.helper is None and not self._refused:
            self.helper = Helper.open(self.supervisor.beat)
            self._refused = "" if self.helper else Helper.why_not
        return self.helper

    def prepare(self, request: Dict[str, Any]) -> Reply:
        """Stops ``services`` and, with ``lock``, locks the clocks, until ``restore`` or this process's end.

        ``{"helper": False, "why_not"}`` where there is no helper. Raises ``Failure`` for what it refuses.
        """
        self._must_hold()
        services, lock = [str(name) for name in request["services"]], bool(request["lock"])
        if len(services) > MOST_SERVICES:
            raise Failure(failure.PROTOCOL, "%d services are too many" % len(services))
        # Opened first: it restores what a dead one left, and only who asks it to lock relies on its lock.
        helper = self._opened()
        if helper is None and lock and not services and self._told(None).get("locked"):
            return {"ok": {"helper": None, "done": ["the clocks were locked already"]}}, []
        if helper is None:
            return {"ok": {"helper": False, "why_not": self._refused}}, []
        orders = [("service", "stop", name) for name in services] + ([("clocks", "lock")] if lock else [])
        for order in orders:
            words = " ".join(order)
            self._changed.append(words)
            told = helper.ask(*order)
            if not told.get("ok"):
                what = "%s was refused: %s" % (words, failure.short(told.get("error"), 500))
                what += _unrestored(self._let_go())
                raise Failure(failure.INTERNAL, what, "see to it there, or set the board up again")
        self._services = services
        return {"ok": {"helper": True, "done": list(self._changed)}}, []

    def restore(self, request: Dict[str, Any]) -> Reply:  # noqa: ARG002 - as every operation
        """Takes back what ``prepare`` did; ``left`` is what could not be: ``what``, ``why`` and how to ``mend`` it."""
        return {"ok": {"left": self._let_go()}}, []

    def _let_go(self) -> List[Dict[str, str]]:
        changed, self._changed, self._services = self._changed, [], []
        helper, self.helper = self.helper, None
        if helper is None:
            return []
        try:
            told = helper.ask("restore") if changed else {"ok": True}
        finally:
            helper.close()
        if not told.get("ok"):
            told = self._afresh()
        if told.get("ok"):
            return [{key: str(one.get(key)) for key in ("what", "why", "mend")} for one in told.get("left") or []]
        why = failure.short(told.get("error"), 300)
        return [{"what": ", ".join(changed), "why": why, "mend": BY_HAND}]

    def _afresh(self) -> Dict[str, Any]:
        """What a new helper says of restoring: the one that changed things has died, or did not answer in time."""
        helper = Helper.open(self.supervisor.beat)
        if helper is None:
            return {"ok": False, "error": Helper.why_not}
        try:
            return helper.ask("restore")
        finally:
            helper.close()

    def load_begin(self, request: Dict[str, Any]) -> Reply:
        """Holds ``reserve`` bytes and runs ``co_runner`` (a list of words), as far as given, until ``load_end``."""
        self._must_hold()
        _refuse(self._end_loads())
        # Those of another agent of the same session, at the same time, would be twice what was asked for.
        self._alone.enter_context(self.supervisor.turn(os.path.join(self.lock.root, "load.lock")))
        load_processes.sweep(
            self._place(), self.supervisor.beat
        )  # of an agent that was killed with all that it had started
        size, command = request.get("reserve"), request.get("co_runner")
        try:
            if size:
                self._room_for(int(size))
                self._begin(co_runner.RESERVE, [str(int(size))], START + int(size) / BYTES_PER_SECOND)
            if command:
                self._begin(co_runner.RUN, [str(word) for word in command], START)
                self._rest(SETTLE)
        except Failure as problem:
            left = self._end_loads()
            if left:
                raise Failure(problem.kind, problem.message + "; " + _remains(left), problem.advice) from None
            raise
        except BaseException:
            self._end_loads()
            raise
        return {"ok": {"loads": [dict(one.ready or {}, kind=one.kind) for one in self.loads]}}, []

    def load_end(self, request: Dict[str, Any]) -> Reply:  # noqa: ARG002 - as every operation
        """Ends them; ``ended`` tells which had ended before, and how.

        Raises ``Failure`` with what could not be ended: it goes on loading the board.
        """
        ended = self._ended()
        _refuse(self._end_loads())
        return {"ok": {"ended": ended}}, []

    def _place(self) -> str:
        return os.path.realpath(self.lock.root)

    def _room_for(self, size: int) -> None:
        free = self.reader.memory({}).get("memory_available")
        if free is not None and free < size + LEFT_FREE:
            what = "%d MiB cannot be reserved: %d MiB are available" % (size >> 20, free >> 20)
            raise Failure(failure.INTERNAL, what, "lower reserve_memory, or free memory there")

    def _begin(self, kind: str, words: List[str], deadline: float) -> None:
        one = co_runner.Load(self.supervisor.archive, kind, words, self._place())
        self.loads.append(one)
        try:
            self.supervisor.wait_until(one.listen, deadline, 0.01)
        except TimeoutError:
            one.ended = "it was not ready within %g s" % deadline
        if one.ready is None:
            what = "%s did not start: %s" % (co_runner.NAMES[kind], one.ended)
            raise Failure(failure.INTERNAL, what, "correct it in the config")

    def _rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self.supervisor.wait_until(lambda: time.monotonic() >= end, seconds + 1, 0.05)

    def _ended(self) -> List[str]:
        found = []
        for one in self.loads:
            one.listen()
            if one.ended is not None:
                found.append("%s was not there all the time: %s" % (co_runner.NAMES[one.kind], one.ended))
        return found

    def _end_loads(self) -> Dict[int, str]:
        """Ends them, the newest first; returns what cannot be ended."""
        left: Dict[int, str] = {}
        while self.loads:
            one = self.loads.pop()
            one.close(self.supervisor.beat)
            left.update(one.left)
        self._alone.close()
        return left


def _unrestored(left: List[Dict[str, str]]) -> str:
    return "".join("; %(what)s was not restored (%(why)s): run `%(mend)s` there" % one for one in left)


def _remains(left: Dict[int, str]) -> str:
    listed = ", ".join("%d (%s)" % (pid, command or "another user's") for pid, command in sorted(left.items()))
    return "what co_runner started cannot be ended from here: process %s" % listed


def _refuse(left: Dict[int, str]) -> None:
    if left:
        advice = "end it there (`sudo kill -9 %s`), and let co_runner be nothing that runs as another user (sudo)"
        raise Failure(failure.INTERNAL, _remains(left), advice % " ".join(map(str, sorted(left))))
