"""The cost of a step through the agent, beside a bare loop over the same ONNX Runtime session.

Both run the same sequence from beginning to end, in processes of their own and in turn: AB BA AB … A pair's figure is
the difference of the seconds of a step, with all that the agent does for a sequence: inputs to the worker, outputs of
each step back. ``benchmarks/results/judging/sequences.py`` judges their median.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.results.judging.sequences import PAIRS
from benchmarks.sequences import models
from hil.config.spec import TargetSpec
from hil.targets.target import open_target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.sequences.models import Recurrent

BARE = Path(__file__).with_name("bare_steps.py")
QUICK = 6
STEPS = 500
SIZES = {"small": 16, "large": 512}
"""Units of the LSTM: a step takes some microseconds, or about a millisecond."""


def rows(folder: Path, *, quick: bool) -> Iterator[dict[str, Any]]:
    """Yield the seconds of a step on both sides, pair by pair, for a small and a large LSTM."""
    with open_target("cpu", TargetSpec(store=str(folder / "store"))).start_agent() as agent:
        agent.hold(secrets.token_hex(8), "benchmarks.sequences")
        for size, units in SIZES.items():
            model = models.lstm(1, units)
            path, data = folder / f"{size}.onnx", folder / f"{size}.npy"
            path.write_bytes(model.model.SerializeToString())
            x = models.sequences(1, 1, STEPS)[0][:, None]
            np.save(data, x)
            engine = agent.build(agent.put_blob(path), "fp32", "onnxruntime", {"threads": 1}, 60)
            with agent.load(engine.key, {"threads": 1}, 60) as worker, _bare(path, data, model) as bare:

                def through_agent() -> float:
                    start = time.perf_counter()
                    worker.sequence({"x": x}, model.empty(1), model.states)  # noqa: B023 - called in this turn
                    return (time.perf_counter() - start) / STEPS

                def by_bare_loop() -> float:
                    print(file=bare.stdin, flush=True)
                    return float(bare.stdout.readline())  # type: ignore[union-attr]  # opened as a pipe

                for side in (through_agent, by_bare_loop):
                    side()  # the first turn warms up
                for number in range(QUICK if quick else PAIRS):
                    order = (through_agent, by_bare_loop) if number % 2 else (by_bare_loop, through_agent)
                    took = {side.__name__: side() for side in order}
                    yield {"part": "cost", "size": size, "agent": took["through_agent"], "bare": took["by_bare_loop"]}


def _bare(path: Path, data: Path, model: Recurrent) -> subprocess.Popen[str]:
    pairs = [f"{taken}={given}" for taken, given in model.states.items()]
    command = [sys.executable, str(BARE), str(path), str(data), "1", *pairs]
    # In its own session, as the agent is: Linux distributes processor time by session (autogroup).
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
