"""Keep the state contract of a session: set the state before anything is timed, watch it, and restore it at the end."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hil.errors import HilError, LabError
from hil.runtimes import runtime_record
from hil.session.target import power_mode_check
from hil.session.target.contract_method import co_runner_command
from hil.state import Contract, State, judge, of_facts
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hil.series import Series
    from hil.session.context import Context
    from hil.state import Finding

REPORT_SECONDS = 10.0
POLL_SECONDS = 1.0


@dataclass
class Disturbances:
    """The disturbances of work that is not a timed series; ``findings`` is empty until the work has ended."""

    findings: list[Finding] = field(default_factory=list)


class StateControl:
    """Keeps the state contract of the session's target. ``open`` and ``close`` do nothing if no target is held."""

    def __init__(self, session: Context) -> None:
        self._session = session
        self._spec = session.spec
        self._name = session.used
        self._co_runner = co_runner_command(session.used, session.spec)
        self._clock = time.monotonic
        self.contract = Contract.of(session.spec)
        self.opened: dict[str, Any] | None = None
        self._loads: list[dict[str, Any]] = []
        self._prepared = False
        self._swappable = False

    def open(self) -> None:
        """Stop services, lock clocks and let the board cool, as declared; then read the state for later comparisons.

        Raises ``LabError`` if the target is not in the declared state and cannot be brought into it, and ``UserError``
        if the board does not have the declared power mode.
        """
        if not self._session.has_target:
            return
        self._prepare()
        reading = self._read_state()
        self._check(reading)
        if self._spec.start_below is not None:
            # Heat lowers clocks: every window would differ from a reading that was taken before the board cooled.
            self._cool()
            reading = self._read_state()
        self.opened = reading
        if self._spec.clocks == "locked" and State.read(reading).locked is not True:
            raise LabError(f"{self._why_unlocked(reading)}: on target {self._name!r}: run `sudo jetson_clocks` there")

    def close(self) -> None:
        """Restore what ``open`` changed; later calls do nothing.

        Raises ``LabError`` with each change that could not be restored and the command that restores it. Also raises
        ``LabError`` if the agent does not answer: whether it restored the changes is then unknown.
        """
        if not self._prepared:
            return
        self._prepared = False
        where = f"on target {self._name!r}"
        try:
            left = self._session.agent.call("restore")[0].get("left") or []
        except LabError as error:
            keys = self._changed_keys()
            why = str(error).partition(": on target ")[0]
            what = f"it is not known whether the changes for {keys} were undone ({why})"
            raise LabError(
                f"{what}: {where}: run `hil doctor {self._name}`, or check there whether they were undone"
            ) from None
        if left:
            what = "; ".join(f"{change['what']} was not restored ({change['why']})" for change in left)
            fix = "; ".join(dict.fromkeys(change["mend"] for change in left))
            raise LabError(f"{what}: {where}: run `{fix}` there")

    def _needs_root(self) -> bool:
        return bool(self._spec.stop_services) or self._spec.clocks == "locked"

    def _prepare(self) -> None:
        if not self._needs_root():
            return
        self._prepared = True
        services, lock = list(self._spec.stop_services), self._spec.clocks == "locked"
        answer = self._session.agent.call("prepare", {"services": services, "lock": lock})[0]
        if answer.get("helper") is False:
            self._prepared = False
            what = f"{self._changed_keys()} cannot be changed without the root helper ({answer.get('why_not')})"
            raise LabError(f"{what}: on target {self._name!r}: run `hil board setup {self._name}`")
        for line in answer.get("done", []):
            self._session.progress(f"{self._name}: {line}, until the session ends")

    def _changed_keys(self) -> str:
        services, lock = self._spec.stop_services, self._spec.clocks == "locked"
        return " and ".join(filter(None, ["stop_services" if services else "", "clocks" if lock else ""]))

    def _why_unlocked(self, reading: Mapping[str, Any]) -> str:
        state = State.read(reading)
        if state.locked is None:
            return f"it is not known whether the clocks are locked{state.why_not('clocks.gpu')}"
        free = [
            f"{part} {known.get('min')} to {known.get('max')} Hz"
            for part, known in sorted(state.clocks.items())
            if known.get("min") != known.get("max")
        ]
        return f"the clocks are not locked ({', '.join(free) or 'the memory clock'})"

    def _read_state(self, *, quick: bool = False) -> dict[str, Any]:
        gpu = self._spec.gpu if runtime_record(self._spec.runtime).uses_gpu else None
        reading: dict[str, Any] = self._session.agent.call("state", {"gpu": gpu, "quick": quick})[0]
        return reading

    def ready(self) -> None:
        """Check power mode and free memory and wait until the board is cool, each only if the config declares it.

        Raises ``LabError`` if the board is not in the declared state, ``UserError`` if it lacks the power mode.
        """
        if self._spec.power_mode is not None or self._spec.free_memory is not None:
            self._check(self._read_state(quick=self._spec.power_mode is None))
        self._cool()

    def _check(self, reading: Mapping[str, Any]) -> None:
        state = State.read(reading)
        if self._spec.power_mode is not None:
            power_mode_check.check(self._name, self._spec.power_mode, state, self._session.facts)
        least = self._spec.free_memory
        if least is not None and (state.memory_available is None or state.memory_available < least):
            available = "an unknown amount" if state.memory_available is None else show(state.memory_available, "B")
            what = f"free_memory requires {show(least, 'B')}, but {available} is free"
            raise LabError(f"{what}: on target {self._name!r}: end programs that use memory there (see stop_services)")

    def _cool(self) -> None:
        """Wait until every sensor is below ``start_below``. Raises ``LabError`` after ``cool_within`` seconds."""
        limit = self._spec.start_below
        if limit is None:
            return
        end = self._clock() + self._spec.cool_within
        due = self._clock()
        while True:
            state = State.read(self._read_state(quick=True))
            hottest = state.hottest()
            now = self._clock()
            if hottest is not None and hottest[1] < limit:
                return
            if hottest is None or now >= end:
                raise LabError(self._too_hot(state, limit))
            if now >= due:
                zone, value = hottest
                left = f"{end - now:.0f} s left"
                self._session.progress(f"{self._name}: waiting for {zone} to cool: {value:.1f} °C, {left}")
                due = now + REPORT_SECONDS
            time.sleep(max(0.0, min(POLL_SECONDS, end - now)))

    def _too_hot(self, state: State, limit: float) -> str:
        where = f"on target {self._name!r}"
        if not state.temperature:
            what = f"start_below requires less than {limit:g} °C, but no temperature can be read"
            return f"{what}{state.why_not('temperature')}: {where}: remove start_below from [targets.{self._name}]"
        zones = ", ".join(f"{zone} {value:.1f} °C" for zone, value in sorted(state.temperature.items()))
        what = f"the board did not get cooler than {limit:g} °C within {self._spec.cool_within:g} s ({zones})"
        return f"{what}: {where}: let it cool, check its fan, or raise start_below or cool_within"

    @contextlib.contextmanager
    def loaded(self, *, timed: bool = True) -> Iterator[None]:
        """Reserve memory and, if ``timed``, run the co-runner during the block, each only if the config declares it."""
        command = self._co_runner if timed else []
        if not command and not self._spec.reserve_memory:
            yield
            return
        order = {"reserve": int(self._spec.reserve_memory or 0), "co_runner": command}
        self._set_loads(self._session.agent.call("load_begin", order)[0].get("loads") or [])
        try:
            yield
        except BaseException as error:
            try:
                self._session.agent.call("load_end")
            except HilError as left:
                if str(left) != str(error):  # a lost agent repeats its message
                    self._session.progress(str(left))
            raise
        else:
            self._session.agent.call("load_end")  # an error here means that something still loads the board
        finally:
            self._loads = []

    def _set_loads(self, loads: list[dict[str, Any]]) -> None:
        self._loads = loads
        if any(one.get("kind") == "reserve" and one.get("locked") is False for one in loads) and not self._swappable:
            self._swappable = True
            what = "reserve_memory is not locked, so the kernel may swap it out: raise `ulimit -l` there"
            self._session.progress(f"{self._name}: {what}")

    @contextlib.contextmanager
    def watching(self, *, timed: bool = True) -> Iterator[Disturbances]:
        """Keep the contract during the block, for work that is not a timed series; yield a record of the disturbances.

        The record is complete at the end of the block. With ``timed``, the board must be ready first (``ready``), and
        the co-runner runs during the block.
        """
        if timed:
            self.ready()
        disturbances = Disturbances()
        with self.loaded(timed=timed):
            before = self._read_state()
            yield disturbances
            after = self._read_state()
        window = {"state": {"before": before, "after": after}}
        opened = None if self.opened is None else State.read(self.opened)
        disturbances.findings = judge(self.contract, State.read(before), [window], State.read(after), opened)

    def facts(self) -> dict[str, Any]:
        """Return the facts of the contract that are stored with a series, so that its file can be judged again."""
        loads = {"loads": self._loads} if self._loads else {}
        return {"contract": self.contract.plain(), "opened": self.opened, **loads}


def findings_of(*series: Series) -> tuple[Finding, ...]:
    """Return the distinct disturbances of all ``series``."""
    return tuple(dict.fromkeys(finding for each in series for finding in of_facts(each.facts)))
