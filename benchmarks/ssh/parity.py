"""The cost of a round trip for parity: the same samples through the same engine, with a delay and without."""

from __future__ import annotations

import secrets
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks.ssh.session import DIGITS, write_config
from hil.config.load import load
from hil.plan import expand
from hil.results import Verdict
from hil.session import Request, Session
from hil.session.gather import parity

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.ssh.board import Way
    from hil.results import Row

SAMPLES = 1000


class Pair(NamedTuple):
    """Seconds of one round, without the delay and with it."""

    near: float
    far: float

    @property
    def ratio(self) -> float:
        """The time with the delay divided by the time without it."""
        return self.far / self.near


def write_data(path: Path) -> Path:
    """Write the first thousand images of the example to ``path``, training data before validation data; return it."""
    parts = [np.load(DIGITS / name, allow_pickle=False) for name in ("train.npz", "validation.npz")]
    np.savez(path, image=np.concatenate([part["image"] for part in parts])[:SAMPLES])
    return path


def open_session(way: Way, folder: Path, data: Path) -> Session:
    """Return a session on the board through this connection."""
    folder.mkdir()
    config = load(write_config(way, folder, data))
    return Session.open(Request(config, "board", "fail", 0.0, secrets.token_hex(8), folder / "report", lambda _: None))


def once(session: Session, row: Row) -> float:
    """Return the seconds of one complete comparison. Raise ``AssertionError`` unless it passed."""
    spec = session.model(row.model)
    began = time.perf_counter()
    answers = session.reference(row.model).batches(spec.batch, spec.samples)
    comparison = parity.side_by_side(session, row, answers).comparison
    judged = comparison.judge()
    seconds = time.perf_counter() - began
    if judged.verdict is not Verdict.PASSED or comparison.samples != SAMPLES:
        raise AssertionError(f"parity {judged.verdict} over {comparison.samples} samples: {judged.reason}")
    return seconds


def measure(near: Way, far: Way, folder: Path, rounds: int) -> list[Pair]:
    """Return the rounds of two open sessions, which alternate; the reference's outputs are computed before."""
    data = write_data(folder / "digits.npz")
    with ExitStack() as stack:
        sessions = [
            stack.enter_context(closing(open_session(way, folder / name, data)))
            for way, name in ((near, "near"), (far, "far"))
        ]
        row = next(row for row in expand(sessions[0].config, "board").of("parity.outputs") if row.precision == "fp32")
        for session in sessions:
            once(session, row)
        pairs = []
        for number in range(rounds):
            seconds = [0.0, 0.0]
            for side in (0, 1) if number % 2 == 0 else (1, 0):
                seconds[side] = once(sessions[side], row)
            pairs.append(Pair(*seconds))
        return pairs
