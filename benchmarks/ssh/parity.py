"""What a round trip costs parity: the same samples through the same engine, with a delay and without."""

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
        """Over 1 where the delay costs something."""
        return self.far / self.near


def write_data(path: Path) -> Path:
    """The first thousand images of the example, training data before validation data."""
    parts = [np.load(DIGITS / name, allow_pickle=False) for name in ("train.npz", "validation.npz")]
    np.savez(path, image=np.concatenate([part["image"] for part in parts])[:SAMPLES])
    return path


def opened(way: Way, folder: Path, data: Path) -> Session:
    """A session on the board by this way."""
    folder.mkdir()
    config = load(write_config(way, folder, data))
    return Session.open(Request(config, "board", "fail", 0.0, secrets.token_hex(8), folder / "report", lambda _: None))


def once(session: Session, row: Row) -> float:
    """Seconds of one comparison over all samples. Raises ``AssertionError`` unless it passed and compared them all."""
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
    """Rounds on two sessions that stand, the two sides changing places; the reference is there before."""
    data = write_data(folder / "digits.npz")
    with ExitStack() as stack:
        sessions = [
            stack.enter_context(closing(opened(way, folder / name, data)))
            for way, name in ((near, "near"), (far, "far"))
        ]
        row = next(row for row in expand(sessions[0].config, "board").of("parity.outputs") if row.precision == "fp32")
        for session in sessions:
            once(session, row)
        pairs = []
        for number in range(rounds):
            taken = [0.0, 0.0]
            for side in (0, 1) if number % 2 == 0 else (1, 0):
                taken[side] = once(sessions[side], row)
            pairs.append(Pair(*taken))
        return pairs
