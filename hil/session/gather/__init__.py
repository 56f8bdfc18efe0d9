"""Gather: one function for each check measures engine, reference and data, and calls the check's judging function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.catalogue import KINDS
from hil.session.gather import (
    cold,
    contract,
    energy,
    int8,
    int8_audit,
    memory,
    paced,
    parity,
    placement,
    properties,
    sequences,
    sustained,
    timing,
)
from hil.session.gather.regression import regression_by

if TYPE_CHECKING:
    from collections.abc import Callable

    from hil.results import Row
    from hil.session.engine_context import EngineContext
    from hil.session.gather.gathered import Gathered

GATHER: dict[str, Callable[[EngineContext, Row], Gathered]] = {
    "contract.signature": contract.signature,
    "contract.shapes": contract.shapes,
    "contract.bad_input": contract.bad_input,
    "contract.isaac_ros": contract.isaac_ros,
    "parity.data": parity.data,
    "parity.outputs": parity.outputs,
    "parity.repeatable": parity.repeatable,
    "parity.task": sequences.task,
    "sequence.teacher_forced": sequences.teacher_forced,
    "sequence.free_running": sequences.free_running,
    "sequence.reset": sequences.reset,
    "sequence.isolation": sequences.isolation,
    "property.parity": properties.numeric,
    "property.stable": properties.stable,
    "int8.calibration": int8.calibration,
    "int8.cache": int8.cache,
    "int8.calibration_set": int8_audit.calibration_set,
    "int8.ranges": int8_audit.ranges,
    "int8.repeatable": int8_audit.repeatable,
    "int8.disjoint": int8.disjoint,
    "int8.drop": int8.drop,
    "int8.speedup": timing.speedup,
    "latency.p50": timing.percentile,
    "latency.p90": timing.percentile,
    "latency.p99": timing.percentile,
    "latency.cold_load": cold.load,
    "latency.first_inference": cold.first,
    "latency.speedup": timing.speedup,
    "fps.sustained": timing.rate,
    "fps.slowest_second": timing.rate,
    "fps.last_100": timing.rate,
    "paced.response_p99": paced.response_p99,
    "paced.missed": paced.missed,
    "paced.streak": paced.streak,
    "paced.jitter": paced.jitter,
    "sustained.p99": sustained.p99,
    "sustained.fps": sustained.frames,
    "sustained.slowdown": sustained.slowdown,
    "energy.inference": energy.inference,
    "placement.declared": placement.declared,
    "placement.in_precision": placement.in_asked_precision,
    "placement.int8_layers": placement.int8_layers,
    "placement.dla_fallback": placement.dla_fallback,
    "memory.peak": memory.peak,
    "memory.model": memory.model,
    "memory.system": memory.system,
    "memory.engine_size": memory.engine_size,
    "memory.growth": memory.growth,
}
"""The function of each check in ``hil.catalogue``."""
GATHER |= {kind.id: regression_by(GATHER[kind.regresses]) for kind in KINDS if kind.regresses}
