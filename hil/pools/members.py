"""Hold members of a pool, which are targets of ``hil.toml``: an agent on each holds its store for the run."""

from __future__ import annotations

import getpass
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from hil.errors import HilError, LabError, TargetHeld, TargetUnreachable, UserError
from hil.pools.pool import Pool, Source
from hil.pools.pool_board import PoolBoard, token_of
from hil.targets.target import open_target

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hil.config.spec import TargetSpec
    from hil.targets.client import AgentClient

PAUSE = 2.0
"""Seconds between two attempts to hold the members that were held by others."""


class Members(Source):
    """The members of the pool ``name``, held with tokens of the run ``run_id``.

    Attributes:
        troubles: for each member whose last attempt to hold it failed, the error.
    """

    def __init__(
        self, name: str, members: Mapping[str, TargetSpec], run_id: str, wait: float, say: Callable[[str], None]
    ) -> None:
        """Store the arguments, without contacting a member.

        ``members`` are the targets by name, ``wait`` is how many seconds to wait for members that others hold, and
        ``say`` prints a line for the user.
        """
        self.name = name
        self.troubles: dict[str, HilError] = {}
        self._members = members
        self._run_id = run_id
        self._wait = wait
        self._say = say
        self._agents: dict[str, AgentClient] = {}
        self._given_up: set[str] = set()
        self._lock = threading.Lock()
        self._closed = False

    def obtain(self, pool: Pool) -> HilError | None:
        """Hold free members in their order, until no board is missing.

        While others hold members, retry until the time to wait is over. Return why boards are missing at the end;
        ``None`` if no board is missing.
        """
        until = time.monotonic() + self._wait
        reported = ""
        while pool.missing:
            self._try_all(pool)
            left = until - time.monotonic()
            if not pool.missing or left <= 0:
                break
            held = "; ".join(str(error) for error in self.troubles.values() if isinstance(error, TargetHeld))
            if not held:
                break
            if held != reported:
                what = f"waiting for {pool.missing} more of the pool's boards, at most {left:.0f} s (Ctrl-C gives up)"
                self._say(f"{self.name}: {what}: {held}")
                reported = held
            pool.stop.wait(min(PAUSE, left))
        return self._error() if pool.missing else None

    def _try_all(self, pool: Pool) -> None:
        with self._lock:
            left = [name for name in self._members if name not in self._agents and name not in self._given_up]
        left.reverse()

        def hold_one() -> None:
            while True:
                with self._lock:
                    if not left or self._closed:
                        return
                    name = left.pop()
                if self._hold(name, pool):
                    return

        workers = min(pool.missing, len(left))
        if workers == 1:
            hold_one()
        elif workers:
            with ThreadPoolExecutor(workers) as threads:
                for done in [threads.submit(hold_one) for _ in range(workers)]:
                    done.result()

    def _hold(self, name: str, pool: Pool) -> bool:
        """Hold the member ``name``, add it to ``pool``, and return true.

        If that fails, return false; an error is then in ``troubles``.
        """
        spec, token = self._members[name], token_of(self._run_id, name)
        try:
            agent = open_target(name, spec).start_agent()
            try:
                agent.hold(token, f"{getpass.getuser()} (pid {os.getpid()})")
            except BaseException:
                agent.close()
                raise
        except HilError as error:
            self.troubles[name] = error
            return False
        with self._lock:
            if not self._closed:
                self._agents[name] = agent
        self.troubles.pop(name, None)
        if name not in self._agents or not pool.add(PoolBoard(name, token)):
            self._let_go(name, agent)
            return False
        return True

    def _error(self) -> HilError:
        """Return why not enough members are held, as one error that has the messages of the members that failed."""
        listed = "; ".join(str(error) for error in self.troubles.values())
        what = f"not enough boards of pool {self.name!r} can be used: {listed or 'all others were lost'}"
        for kind in (UserError, TargetHeld):
            if any(isinstance(error, kind) for error in self.troubles.values()):
                return kind(what)
        unreachable = self.troubles and all(isinstance(each, TargetUnreachable) for each in self.troubles.values())
        return TargetUnreachable(what) if unreachable else LabError(what)

    def release(self, board: PoolBoard) -> None:
        """Release a member that was lost; this run does not hold it again."""
        with self._lock:
            self._given_up.add(board.name)
            agent = self._agents.pop(board.name, None)
        if agent is not None:
            agent.close()

    def _let_go(self, name: str, agent: AgentClient) -> None:
        with self._lock:
            self._agents.pop(name, None)
        agent.close()

    def close(self) -> None:
        """Release all members. A member that is being contacted now is released as soon as it answers."""
        with self._lock:
            self._closed = True
            agents, self._agents = list(self._agents.values()), {}
        for agent in agents:
            agent.close()
