"""Obtain places of a labgrid coordinator, through a keeper process that releases them whatever happens to the run."""

from __future__ import annotations

import collections
import contextlib
import json
import re
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

from hil.errors import HilError, LabError, TargetHeld, TargetUnreachable, UserError
from hil.pools.keeper_process import ask, holder_of_run, release_command, start_keeper, user_of
from hil.pools.pool import Pool, Source
from hil.pools.pool_board import PoolBoard, token_of
from hil.text import clean, cleaned

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hil.config.spec import TargetSpec

HOST = re.compile(r"[A-Za-z0-9_.:%\[\]][A-Za-z0-9_.:%\[\]-]*")
"""An address or name of a machine. It cannot begin with ``-``, so that a lab's text is never read as an option."""
USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.$-]*")
PORTS, SSH_PORT = range(1, 65536), 22
CLOSE_SECONDS = 45.0


class Places(Source):
    """Places of the target ``name``, held for the run ``run_id``."""

    def __init__(self, name: str, spec: TargetSpec, run_id: str, wait: float, say: Callable[[str], None]) -> None:
        """Store the arguments, without contacting the coordinator.

        ``wait`` is how many seconds to wait for places that others hold, and ``say`` prints a line for the user.
        """
        self.name = name
        self.spec = spec
        self._run_id = run_id
        self._wait = wait
        self._say = say
        self._keeper: subprocess.Popen[str] | None = None
        self._lock = threading.Condition()
        self._events: collections.deque[dict[str, Any]] = collections.deque()
        self._held: set[str] = set()
        self._unusable: dict[str, str] = {}
        self._stderr: collections.deque[str] = collections.deque(maxlen=5)
        self._left: set[str] = set()  # places that a keeper held when it ended
        self._confirmed = False
        self._reader: threading.Thread | None = None
        self._closing = False
        self._pool: Pool | None = None
        self._asked: int | None = None

    def obtain(self, pool: Pool) -> HilError | None:
        """Hold free places until none is missing; if not enough are free, print who holds the others, and wait.

        Return why places are missing at the end; ``None`` if no place is missing.
        """
        self._begin(pool)
        until = time.monotonic() + self._wait
        with self._lock:
            self._events.clear()
        waiting: dict[str, Any] = {}
        self._asked = None
        while pool.missing:
            self._want(pool.missing)
            event = self._next(pool, until if waiting else None)
            kind = event.get("event")
            if kind == "acquired":
                self._acquired(pool, event)
            elif kind == "unusable":
                self._unusable[str(event.get("place"))] = str(event.get("reason"))
                self._say(f"{self.name}: place {event.get('place')} cannot be used: {event.get('reason')}")
            elif kind == "failed":
                return self._failed(event)
            elif kind == "waiting" and event != waiting:
                waiting = event
                if time.monotonic() < until:
                    self._say(f"{self.name}: {self._waiting_text(event)} (Ctrl-C gives up)")
            if kind in ("over", "ended") or (kind == "waiting" and time.monotonic() >= until):
                break
        short = pool.missing > 0
        self._command(do="want", count=len(self._held))
        if not short or pool.stop.is_set():
            return None
        listed = "".join(f"; {place} cannot be used: {why}" for place, why in self._unusable.items())
        if waiting:
            return TargetHeld(f"{self._waiting_text(waiting)}{listed}: on target {self.name!r}: wait with --hil-wait")
        fix = "hil targets --check lists the places"
        return LabError(f"no place was obtained{listed}: on target {self.name!r}: {fix}")

    def _begin(self, pool: Pool) -> None:
        with self._lock:
            self._pool = pool
            if self._closing or (self._keeper is not None and self._keeper.poll() is None):
                return
            keeper = self._keeper = start_keeper(self.spec, self.name, user_of(self._run_id))
        self._reader = threading.Thread(target=self._read, args=(keeper,), name="hil-keeper", daemon=True)
        self._reader.start()
        threading.Thread(target=self._listen, args=(keeper,), name="hil-keeper-errors", daemon=True).start()

    def _read(self, keeper: subprocess.Popen[str]) -> None:
        assert keeper.stdout is not None  # noqa: S101 - it is a pipe
        with keeper.stdout:
            for line in keeper.stdout:
                with contextlib.suppress(ValueError):
                    self._event(cleaned(json.loads(line)))
        with self._lock:
            held = () if self._confirmed else sorted(self._held)
            self._left.update(held)
            self._held.difference_update(held)
            self._events.append({"event": "ended"})
            self._lock.notify_all()
        if self._pool is not None:
            for place in held:
                self._pool.report_loss(place, "the process that kept it for this run ended")

    def _event(self, event: dict[str, Any]) -> None:
        place = str(event.get("place"))
        if event.get("event") == "lost":
            with self._lock:
                self._held.discard(place)
                self._asked = None  # the keeper wants one place less now
            if self._pool is not None:
                self._pool.report_loss(place, str(event.get("reason")))
        elif event.get("event") == "left":
            self._left.update(str(each) for each in event.get("places", []))
        elif event.get("event") == "closed":
            self._confirmed = True
        with self._lock:
            self._events.append(event)
            self._lock.notify_all()

    def _listen(self, keeper: subprocess.Popen[str]) -> None:
        assert keeper.stderr is not None  # noqa: S101 - it is a pipe
        with keeper.stderr:
            for line in keeper.stderr:
                self._stderr.append(clean(line.strip(), 200))

    def _want(self, missing: int) -> None:
        """Send the keeper the number of places that are needed, if that number has changed."""
        with self._lock:
            needed = len(self._held) + missing
            changed, self._asked = needed != self._asked, needed
        if changed:
            self._command(do="want", count=needed)

    def _next(self, pool: Pool, until: float | None) -> dict[str, Any]:
        with self._lock:
            if not self._events:
                if pool.stop.is_set() or (until is not None and time.monotonic() >= until):
                    return {"event": "over"}
                self._lock.wait(0.2)
            return self._events.popleft() if self._events else {}

    def _acquired(self, pool: Pool, event: Mapping[str, Any]) -> None:
        """Add a place that the keeper has acquired to ``pool``, if its reported address is usable."""
        name = str(event.get("place"))
        host, user, port = event.get("address"), event.get("username"), event.get("port") or SSH_PORT
        proxy = event.get("proxy")
        texts = [(HOST, host), *(() if proxy is None else [(HOST, proxy)]), *(() if self.spec.user else [(USER, user)])]
        fits = port in PORTS and all(isinstance(text, str) and form.fullmatch(text) for form, text in texts)
        with self._lock:
            self._held.add(name)
        if not fits:
            self._unusable[name] = (
                f"its NetworkService is unusable (address {host!r}, username {user!r}, port {port!r})"
            )
            self._say(f"{self.name}: place {name} cannot be used: {self._unusable[name]}")
            # It stays held until the end: released, it would be given to this run again.
            self._command(do="want", count=len(self._held) + pool.missing)
            return
        place = {"kind": "ssh", "host": host, "user": self.spec.user or user, "port": self.spec.port or port}
        if proxy is not None and self.spec.jump is None:
            place["jump"] = proxy
        board = PoolBoard(name, token_of(self._run_id, name), place)
        if not pool.add(board):
            self.release(board)

    def _failed(self, event: Mapping[str, Any]) -> HilError:
        reason = f"{event.get('reason')}: on target {self.name!r}"
        if event.get("kind") == "user":
            return UserError(f"{reason}: correct filter in [targets.{self.name}], or set the tags of a place")
        return TargetUnreachable(f"{reason}: start the coordinator, or correct coordinator in [targets.{self.name}]")

    def _waiting_text(self, event: Mapping[str, Any]) -> str:
        others = [
            each for each in event.get("holders", []) if each.get("by") not in (None, holder_of_run(self._run_id))
        ]
        held = "; ".join(f"{each['place']} is held by {each['by']} since {each['since']}" for each in others)
        queue = f"place {event.get('place_in_queue')} of {event.get('queue')} in the queue"
        missing = event.get("missing")
        return (
            f"waiting for {missing} more {'place' if missing == 1 else 'places'}: {queue}: {held or 'no place is free'}"
        )

    def _command(self, **command: Any) -> None:
        with self._lock:
            keeper = self._keeper
            if keeper is None or keeper.stdin is None:
                return
            with contextlib.suppress(OSError, ValueError):  # it ended, which the reading thread reports
                keeper.stdin.write(json.dumps(command) + "\n")
                keeper.stdin.flush()

    def release(self, board: PoolBoard) -> None:
        """Release a place; without effect if somebody else holds it now."""
        with self._lock:
            self._held.discard(board.name)
        self._command(do="release", place=board.name)

    def close(self) -> None:
        """Release all places and cancel all reservations. Raises ``LabError`` for places that may still be held."""
        with self._lock:
            self._closing, keeper = True, self._keeper
        if keeper is None:
            return
        self._command(do="close")
        try:
            keeper.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            keeper.terminate()
        if keeper.stdin is not None:
            with contextlib.suppress(OSError):
                keeper.stdin.close()
        if self._reader is not None:
            self._reader.join(CLOSE_SECONDS)
        with self._lock:
            self._keeper = None
        for place in sorted(self._left):  # a keeper ended before it released them
            with contextlib.suppress(HilError):
                ask(self.spec, self.name, only="release", place=place, by=holder_of_run(self._run_id))
                self._left.discard(place)
        if self._left:
            commands = "; ".join(release_command(str(self.spec.coordinator), place) for place in sorted(self._left))
            last = f" (it last wrote: {self._stderr[-1]})" if self._stderr else ""
            what = f"{', '.join(sorted(self._left))} may still be held by this run{last}"
            raise LabError(f"{what}: on target {self.name!r}: free them with: {commands}")
