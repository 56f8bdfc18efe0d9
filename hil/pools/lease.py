"""Connect the controller of a run with the processes that use its boards, by files in a private folder.

For the process USER there are two files. ``USER.board`` is JSON: its board, or why it has no board. ``USER.lease`` is a
named pipe, which is empty while the process may use the board. If the board is lost, the reason is in the pipe; if the
controller dies, the pipe ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from hil.pools.pool_board import PoolBoard

if TYPE_CHECKING:
    from collections.abc import Callable

DIED = "the run's controller, which held the board, died"
LONGEST = 4000


class Leases:
    """The controller's side: a folder with the files of all processes."""

    def __init__(self) -> None:
        """Make the folder, which only this user can read."""
        self.folder = Path(tempfile.mkdtemp(prefix="hil-pool-"))
        self._pipes: dict[str, int] = {}

    def open(self, user: str) -> None:
        """Create the pipe of the process ``user``; call this before the process starts."""
        path = self.folder / f"{user}.lease"
        os.mkfifo(path, 0o600)
        # Read and write, so that opening waits for nobody, and a write never ends this process by SIGPIPE.
        self._pipes[user] = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)

    def give(self, user: str, board: PoolBoard | None, why_not: str = "") -> None:
        """Write for the process ``user`` which board it has; if ``board`` is ``None``, why it has no board."""
        text = json.dumps({"why_not": why_not}) if board is None else json.dumps({"board": board.as_json()})
        path = self.folder / f"{user}.board"
        path.with_suffix(".new").write_text(text, encoding="utf-8")
        path.with_suffix(".new").replace(path)

    def end(self, user: str, reason: str) -> None:
        """Report to the process ``user`` that its board was lost, and why. Do nothing if it has no pipe."""
        pipe = self._pipes.get(user)
        if pipe is not None:
            with contextlib.suppress(OSError):  # the pipe is full of earlier reports
                os.write(pipe, reason.encode()[:LONGEST] or b"the board was lost")

    def close(self) -> None:
        """Close the pipes and remove the folder. May be called twice."""
        pipes, self._pipes = self._pipes, {}
        for pipe in pipes.values():
            os.close(pipe)
        shutil.rmtree(self.folder, ignore_errors=True)


class Lease:
    """The side of a process: it reads which board it has, and waits in a thread for the loss of the board."""

    def __init__(self, folder: Path, user: str) -> None:
        """Begin to wait for a report of a loss. ``Leases.open`` must have created the pipe of ``user``."""
        self._folder = folder
        self._user = user
        self._lock = threading.Lock()
        self._on_loss: Callable[[str], None] | None = None
        self.lost = ""
        # Nobody else writes, so this end sees the pipe end when the controller is gone.
        pipe = os.open(folder / f"{user}.lease", os.O_RDONLY | os.O_CLOEXEC)
        threading.Thread(target=self._watch, args=(pipe,), name="hil-lease", daemon=True).start()

    def board(self) -> tuple[PoolBoard | None, str]:
        """Return the board and an empty text, or ``None`` and why there is no board.

        ``Leases.give`` must have been called for this process.
        """
        reported = json.loads((self._folder / f"{self._user}.board").read_text(encoding="utf-8"))
        board = reported.get("board")
        return (None, str(reported["why_not"])) if board is None else (PoolBoard.from_json(board), "")

    def watch(self, on_loss: Callable[[str], None]) -> None:
        """Have ``on_loss`` called with the reason when the board is lost, in another thread.

        If the board is lost already, call ``on_loss`` at once.
        """
        with self._lock:
            self._on_loss = on_loss
            lost = self.lost
        if lost:
            on_loss(lost)

    def _watch(self, pipe: int) -> None:
        try:
            reported = os.read(pipe, LONGEST).decode("utf-8", "replace")
        except OSError as error:
            reported = str(error)
        finally:
            os.close(pipe)
        with self._lock:
            self.lost = reported or DIED
            on_loss = self._on_loss
        if on_loss is not None:
            on_loss(self.lost)
