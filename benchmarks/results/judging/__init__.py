"""The bars that follow from a benchmark's raw rows, as pure functions.

A judge takes the rows as they are in the file and returns each bar with its figure. If rows lack a round, a
configuration or a step, the bar has no figure and is missed: less was measured than is claimed.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.results.judging import (
    aa,
    accuracy,
    deploy,
    history,
    int8,
    network,
    onnx_backend,
    parity,
    pool,
    precision,
    sequences,
    sessions,
    suites,
    tensorrt,
    tune,
    verdicts,
    zoo,
)
from benchmarks.verdicts import limits, peers, percentile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.results.judging.bars import Bar, Row

JUDGES: Mapping[str, Callable[[Sequence[Row]], list[Bar]]] = {
    "accuracy": accuracy.judge,
    "compare-aa": aa.judge,
    "deploy-faults": deploy.judge,
    "verdicts-percentile": partial(verdicts.judge, percentile.CLAIMS),
    "verdicts-limits": partial(verdicts.judge, limits.CLAIMS),
    "verdicts-comparison": verdicts.compared,
    "verdicts-peers": partial(verdicts.judge, peers.CLAIMS),
    "ssh": network.ssh,
    "telemetry": network.telemetry,
    "parity-planted": parity.planted,
    "parity-third-party": parity.planted,
    "parity-peer": parity.peer,
    "parity-holes": parity.holes,
    "history": history.judge,
    "int8-audit": int8.judge,
    "int8-audit-third-party": int8.third_party,
    "int8-tune": tune.judge,
    "tensorrt-tune": partial(tune.judge, models=1, builds=8),
    "onnx-backend": onnx_backend.judge,
    "pool-speed": pool.speed,
    "pool-cost": pool.cost,
    "pool-random": pool.disturbed,
    "pool-main": pool.main_job,
    "precision": precision.judge,
    "sequences-cost": sequences.cost,
    "sequences-planted": sequences.planted,
    "sequences-speech": sequences.speech,
    "sessions-real": sessions.real,
    "sessions-board": sessions.board,
    "sessions-simulated": sessions.simulated,
    "zoo": zoo.judge,
    "tensorrt-honesty": tensorrt.honesty,
    "tensorrt-provision": tensorrt.provision,
    "tensorrt-streams": tensorrt.streams,
    "tensorrt-leak": tensorrt.leak,
    "tensorrt-faults": tensorrt.faults,
    **{f"tensorrt-suites-{model}": partial(suites.judge, model) for model in suites.MODELS},
    **{f"tensorrt-suites-{model}": partial(suites.trained, model) for model in suites.TRAINED},
}
