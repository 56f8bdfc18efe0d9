"""The cost of the control, and its effect on the series timed with it: ``python -m benchmarks.control [--quick]``.

Series with and without the control are timed alternately in one worker, AB BA AB …; each round has a fresh worker. A
round's figure is the median ratio of neighbouring series, for p50 and p99. The benchmark's figure is the median of its
rounds. The share is the control's time divided by the time of the series with its warm-up. The exit code is 1 if a
figure is over its bar.
"""

from __future__ import annotations

import argparse
import secrets
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks.models import calibrated_chain, sample
from hil.config.spec import TargetSpec
from hil.session.engines.control_network import ON_CPU, network
from hil.stats.control import summary
from hil.targets.control import ControlOrder
from hil.targets.target import open_target

if TYPE_CHECKING:
    from hil.targets.client import AgentClient

MODELS = {"0.1 ms": 1e-4, "5 ms": 5e-3}
RATIO = 1.02
"""The bar of p50: within this factor in either direction."""

TAIL = 1.1
"""The bar of p99, of which a series of a few seconds has few samples."""

SHARE = 0.05


class Effort(NamedTuple):
    """Rounds, pairs of series in each, and seconds of warm-up and of timing of a series."""

    rounds: int
    pairs: int
    warmup: float
    seconds: float


FULL, QUICK = Effort(8, 6, 0.5, 4.0), Effort(4, 3, 0.3, 1.0)


class Figures(NamedTuple):
    """Ratios of p50 and p99 with the control to those without, the largest share, and the spread between windows."""

    p50: float
    p99: float
    share: float
    spread: float


def measure(agent: AgentClient, folder: Path, name: str, effort: Effort) -> list[Figures]:
    """Return the figures of each round with a model that takes about as long as ``name`` states."""
    path, beside = folder / f"{name}.onnx", folder / "control.onnx"
    feed = {"x": sample(calibrated_chain(path, MODELS[name], 0))}
    beside.write_bytes(network(ON_CPU))
    keys = [agent.build(agent.put_blob(file), "fp32", "onnxruntime", {}, 60).key for file in (path, beside)]
    order = ControlOrder(ON_CPU.name, keys[1], {})
    rounds = []
    for _ in range(effort.rounds):
        ratios, shares, controls = [], [], []
        with agent.load(keys[0], {}, 60) as worker:
            for number in range(effort.pairs):
                quantiles = {}
                for control in (order, None) if number % 2 else (None, order):
                    window: dict[str, Any] = {"min_samples": 1, "max_samples": 10**6, "control": control}
                    timed = worker.time([feed], warmup=effort.warmup, seconds=effort.seconds, **window)
                    quantiles[control is not None] = np.quantile(timed.duration, (0.5, 0.99))
                    if timed.control is not None:
                        shares.append(timed.control.seconds / (effort.warmup + effort.seconds))
                        controls.append(timed.control)
                ratios.append(quantiles[True] / quantiles[False])
        p50, p99 = np.median(ratios, axis=0)
        whole = summary(controls)
        rounds.append(Figures(float(p50), float(p99), max(shares, default=1.0), whole.spread if whole else 1.0))
    return rounds


def main() -> int:
    """Print the rounds; the last line has figures and bars."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter series, within a minute")
    effort = QUICK if parser.parse_args().quick else FULL
    good, texts = True, []
    with tempfile.TemporaryDirectory() as folder:
        spec = TargetSpec(store=str(Path(folder) / "store"))
        with open_target("cpu", spec).start_agent() as agent:
            agent.hold(secrets.token_hex(8), "benchmarks.control")
            for name in MODELS:
                rounds = measure(agent, Path(folder), name, effort)
                for one in rounds:
                    print(f"{name}: p50 x {one.p50:.4f}, p99 x {one.p99:.3f}, share {one.share:.2%}, ", end="")
                    print(f"spread between windows {one.spread:.2%}")
                p50, p99 = (statistics.median(getattr(one, each) for one in rounds) for each in ("p50", "p99"))
                share = max(one.share for one in rounds)
                good &= 1 / RATIO <= p50 <= RATIO and 1 / TAIL <= p99 <= TAIL and share <= SHARE
                texts.append(f"{name}: p50 x {p50:.3f}, p99 x {p99:.2f}, share {share:.1%}")
    bars = f"bars: p50 within {RATIO}, p99 within {TAIL}, share at most {SHARE:.0%}"
    print(f"control: {'; '.join(texts)}; {bars}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
