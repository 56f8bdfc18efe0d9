"""Sessions on a simulated board whose clocks are throttled on one side, as its telemetry or its speed shows."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.sessions.chain import Chain
from benchmarks.sessions.disturbing import limit, neighbour
from tests.agent.test_interpreters import CACHE
from tests.boards.board import REPOSITORY, SimulatedBoard
from tests.boards.conftest import installed_interpreter, missing_requirement
from tests.boards.generations import facts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.sessions.disturbing import Process

GENERATION, NAME = "jp62", "rover"
BLINK = 0.25
"""Seconds for which the throttle alert is alternately active and inactive."""


def rows(folder: Path, notify: Callable[[str], None]) -> list[dict[str, Any]]:
    """Return the comparisons of an undisturbed session with each disturbed session, and with a second undisturbed one.

    Raise ``SystemExit`` if this machine cannot simulate a board.
    """
    if why := missing_requirement():
        raise SystemExit(f"sessions: a simulated board is needed: {why}")
    cached = Path(os.environ.get(CACHE) or REPOSITORY / ".pytest_cache/d/hil-interpreters")
    board = SimulatedBoard(
        GENERATION, installed_interpreter(facts_of(GENERATION)["python"], (), cached), folder / "keys"
    )
    try:
        disturbances = {"clock": _limited_clock(board), "alert": _alert(board), "speed": _slow(board)}
        chain = Chain(folder / "board", table=(NAME, board.toml(NAME)), disturbances=disturbances)
        chain.one_sided(notify)
        return [{**row, "kind": "board"} for row in chain.rows if row["kind"] == "one-sided"]
    finally:
        board.close()


def _limited_clock(board: SimulatedBoard) -> Any:
    @contextmanager
    def limited(_process: Process) -> Iterator[None]:
        """Limit the GPU to half its highest clock, as throttling does; only the telemetry shows it."""
        device = board.facts["devfreq"][0]
        least, most = device["min_freq"], device["max_freq"]
        board.gpu_clock(least, most // 2, least)
        try:
            yield
        finally:
            board.gpu_clock(least, most, least)

    return limited


def _alert(board: SimulatedBoard) -> Any:
    @contextmanager
    def blinking(_process: Process) -> Iterator[None]:
        """Switch the throttle alert on and off without heat; only the telemetry shows it."""
        ended = threading.Event()

        def blink() -> None:
            while not ended.wait(BLINK):
                board.throttle(on=True)
                ended.wait(BLINK)
                board.throttle(on=False)

        thread = threading.Thread(target=blink)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            board.throttle(on=False)

    return blinking


def _slow(board: SimulatedBoard) -> Any:
    @contextmanager
    def slow(process: Process) -> Iterator[None]:
        """Slow the board's workers down by other work on their core. Only the control shows it."""
        with neighbour(process), limit(lambda: board.first):
            yield

    return slow
