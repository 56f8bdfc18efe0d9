"""What a result refers to, as the report stores it: environment, engine, model, target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hil.errors import HilError, LabError, UserError
from hil.files import file_digest

if TYPE_CHECKING:
    from hil.model import Row
    from hil.session.core import Session

VARYING = frozenset({"memory"})
"""Facts that differ from one moment to the next: told in the report's target, no part of an environment."""


def environment(session: Session) -> dict[str, Any]:
    """What may differ between two comparable measurements: machine, versions, target."""
    facts = {key: value for key, value in session.facts.items() if key not in VARYING}
    total = (session.facts.get("memory") or {}).get("total")
    declared = {"target": session.used, "runtime": session.spec.runtime, "clocks_policy": session.spec.clocks}
    return {**declared, "memory_total": total, **facts}


def target(session: Session) -> dict[str, Any]:
    """The target of the run."""
    return {"kind": session.spec.kind, "fallback_reason": session.fallback_reason, "facts": session.facts}


def engines(session: Session, row: Row) -> list[dict[str, Any]]:
    """The engine of the row, if it was built."""
    try:
        made = session.engines.provisioned(row.model, row.precision) if row.model and row.precision else None
    except (LabError, UserError):
        raise
    except HilError:  # it cannot be built: the rows that need it say so
        return []
    if made is None:
        return []
    engine = made.engine
    return [
        {
            "model": row.model,
            "precision": row.precision,
            "runtime": engine.runtime,
            "runtime_version": engine.runtime_version,
            "digest": engine.digest,
            "key": engine.key,
            "size": engine.size,
            "file": made.file,
            "build_seconds": engine.seconds,
            "cached": engine.cached,
            "foreign": False,
        }
    ]


def models(session: Session, row: Row) -> list[dict[str, Any]]:
    """The model of the row with its data, each by digest."""
    return [session.memo.once(("record", row.model), lambda: _model(session, row.model))] if row.model else []


def _model(session: Session, name: str) -> dict[str, Any]:
    spec = session.model(name)
    data = session.dataset(name)
    calibration = None
    if spec.calibration is not None and "int8" in spec.precisions:
        source = session.calibration_data(name)
        calibration = {
            "data": spec.calibration.data,
            "data_digest": source.digest,
            "samples": spec.calibration.samples or source.count,
            "method": spec.calibration.method,
            "route": spec.calibration.route,
            "synthetic": source.synthetic,
            **dict(source.provenance),
        }
    reference = {"source": spec.reference or "ONNX Runtime, FP32, CPU of the host"}
    return {
        "name": name,
        "path": spec.path,
        "digest": file_digest(session.config.resolve(spec.path)),
        "data": spec.data,
        "data_digest": data.digest,
        "data_provenance": dict(data.provenance),
        "samples": data.count,
        "synthetic": data.synthetic,
        "calibration": calibration,
        "reference": reference,
    }
