"""Keep the boards of one run: who uses which, which are free, and which were lost."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING

from hil.errors import HilError, LabError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hil.pools.pool_board import PoolBoard

JOIN_SECONDS = 30.0
"""How long the end of a run waits for an attempt to obtain a board, which ends by itself after its own time limits."""


class Source(ABC):
    """Where a pool's boards come from. ``obtain`` is called in a thread, all other methods from any thread."""

    @abstractmethod
    def obtain(self, pool: Pool) -> HilError | None:
        """Call ``pool.add`` for boards until ``pool.missing`` is 0, ``pool.stop`` is set, or the time to wait is over.

        Return why boards are still missing; ``None`` if no board is missing, or if the run ended. Never obtain more
        boards than are missing.
        """

    @abstractmethod
    def release(self, board: PoolBoard) -> None:
        """Release a board, also one that was lost. Raises nothing."""

    @abstractmethod
    def close(self) -> None:
        """Release all boards, and end ``obtain``. May be called twice. Raises ``LabError`` if a board stays held."""


class Pool:
    """The boards of one run, at most ``wanted``. A user is a process of the run, by its name.

    Attributes:
        lost: the boards that were lost, each with the reason, in the order of the losses.
        stop: is set when the run ends.
        on_change: is called, from another thread, after a board was added, after the source lost a board, and when no
            further board will come.
        on_loss: is called with the user of a board and the reason if the source loses this board.
    """

    def __init__(self, name: str, source: Source, wanted: int) -> None:
        """Create the pool without boards; ``start`` obtains them."""
        self.name = name
        self.wanted = wanted
        self.lost: dict[str, str] = {}
        self.stop = threading.Event()
        self.on_change: Callable[[], None] = lambda: None
        self.on_loss: Callable[[str, str], None] = lambda _user, _reason: None
        self._source = source
        self._spare: deque[PoolBoard] = deque()
        self._used: dict[str, PoolBoard] = {}
        self._change = threading.Condition(threading.RLock())
        self._thread: threading.Thread | None = None
        self._working = False
        self._reason: HilError | None = None

    @property
    def missing(self) -> int:
        """How many boards are still to be obtained; 0 when the run ends."""
        with self._change:
            return 0 if self.stop.is_set() else max(0, self.wanted - len(self._spare) - len(self._used))

    @property
    def exhausted(self) -> bool:
        """Whether the pool has no board, neither used nor free, and is not obtaining one."""
        with self._change:
            return not (self._spare or self._used or self._working)

    def error(self) -> HilError:
        """Return the reason why the pool has no board, or cannot obtain a further one, as an error to raise."""
        with self._change:
            lost = "; ".join(f"{name}: {reason}" for name, reason in self.lost.items())
            if self.lost:
                more = "" if self._reason is None else f"; {self._reason}"
                fix = "check the boards with hil targets --check, and run again"
                return LabError(f"no board is left: {lost}{more}: on target {self.name!r}: {fix}")
            return self._reason or LabError(
                f"no board was obtained: on target {self.name!r}: run hil targets --check to see who holds its boards"
            )

    def start(self) -> None:
        """Start a thread that obtains the missing boards, unless one is running or no board is missing."""
        with self._change:
            if self._working or not self.missing:
                return
            self._working = True
            self._thread = threading.Thread(target=self._obtain, name=f"hil-pool-{self.name}", daemon=True)
            self._thread.start()

    def _obtain(self) -> None:
        try:
            reason = self._source.obtain(self)
        except HilError as error:
            reason = error
        except BaseException as error:  # noqa: BLE001 - a thread's error must reach the run
            what = f"obtaining a board failed ({type(error).__name__}: {error})"
            reason = LabError(f"{what}: on target {self.name!r}: run again")
        with self._change:
            self._working = False
            self._reason = reason
            self._change.notify_all()
        self.on_change()

    def add(self, board: PoolBoard) -> bool:
        """Add a board that the source obtained, and return true.

        Return false if the run has ended; the caller must then release the board.
        """
        with self._change:
            if self.stop.is_set():
                return False
            self._spare.append(board)
            self._change.notify_all()
        self.on_change()
        return True

    def wait(self) -> None:
        """Wait until the pool has a board, or it is certain that none will come. Ctrl-C ends the wait."""
        with self._change:
            while not (self._spare or self._used) and self._working:
                self._change.wait(0.2)  # a short time: an interrupt is noticed only in between

    def take(self, user: str) -> PoolBoard | None:
        """Return the board of ``user``; if it has none, give it a free one. Return ``None`` if no board is free now."""
        with self._change:
            if user not in self._used and self._spare:
                self._used[user] = self._spare.popleft()
            return self._used.get(user)

    def give_back(self, user: str) -> None:
        """Make the board of ``user`` free, after all other free boards. Do nothing if ``user`` has no board."""
        with self._change:
            if (board := self._used.pop(user, None)) is not None:
                self._spare.append(board)

    def lose(self, user: str, reason: str) -> PoolBoard | None:
        """Remove the board of ``user``, which was lost because of ``reason``, and begin to obtain another one.

        Another thread releases the board. Return the board; ``None`` if ``user`` has none.
        """
        with self._change:
            board = self._used.pop(user, None)
            if board is None:
                return None
            self.lost.setdefault(board.name, reason)
        # Releasing may take seconds if the board does not answer.
        threading.Thread(target=self._source.release, args=(board,), name="hil-release", daemon=True).start()
        self.start()
        return board

    def report_loss(self, name: str, reason: str) -> None:
        """Note that the source lost the board ``name``, because of ``reason``.

        A free board is removed. For a used one, ``on_loss`` is called; its user then calls ``lose``.
        """
        with self._change:
            for board in [each for each in self._spare if each.name == name]:
                self._spare.remove(board)
                self.lost.setdefault(name, reason)
            user = next((user for user, board in self._used.items() if board.name == name), None)
        if user is not None:
            self.on_loss(user, reason)
        self.on_change()

    def close(self) -> None:
        """Release all boards, and end ``wait`` and ``obtain``. May be called twice. Raises like ``Source.close``."""
        with self._change:
            self.stop.set()
            self._spare.clear()
            self._used.clear()
            self._change.notify_all()
        try:
            self._source.close()
        finally:
            if self._thread is not None and self._thread is not threading.current_thread():
                self._thread.join(JOIN_SECONDS)
