"""Make the records that a result refers to in the report: environment, engine, model, target."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

from hil.checks.verdicts import plain
from hil.errors import HilError, LabError, UserError
from hil.jetson import identity_fields
from hil.onnx_files.identity import ONNX, identity_of
from hil.runtimes import runtime_record
from hil.session.engines.equal_boards import own_name
from hil.session.engines.trtexec import equivalent
from hil.session.target.board_match import runtime_facts
from hil.state import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hil.results import Row
    from hil.session.engine_context import EngineContext
    from hil.session.engines.provision import Provisioned
    from hil.targets.answers import BuiltEngine

VARYING = frozenset({"memory", "board"})
"""Facts that are in the report's target but not in an environment: memory in use, and a board's raw facts. The facts of
a board that affect a measurement (module, serial number, JetPack, versions, power mode) are in ``identity``."""
OF_THE_RUN = ("cuda", "driver", "io")
"""Facts that all loaded engines of a target share: CUDA binding, driver, and how inputs and outputs are moved."""
OF_ONE_ENGINE = ("device_memory_size", "layers", "profiles", "ranges", "warnings")
"""Facts of a loaded engine that differ between engines."""
OF_THE_GPU = ("gpu", "sm", "sms", "driver", "cuda", "dla")
LOG_LETTERS = 16_000
SHORT = 12
DIGEST = re.compile("[0-9a-f]{64}")
MOST_SCALES = 256


def environment(session: EngineContext, row: Row) -> dict[str, Any]:
    """Return the environment of a measurement as plain JSON: what may differ between two comparable measurements.

    It contains the machine, GPU, versions, target, clock limits, facts of the loaded engine, and for each file of the
    model the first 12 digits of its digest.
    """
    facts = {key: value for key, value in session.facts.items() if key not in VARYING}
    total = (session.facts.get("memory") or {}).get("total")
    declared = {"target": session.used, "runtime": session.spec.runtime, "clocks_policy": session.spec.clocks}
    gpu = runtime_facts(session.facts, session.spec.runtime, session.spec.gpu)
    if session.member:
        declared["member"] = session.member
    record = {
        **declared,
        "memory_total": total,
        **facts,
        "clocks": {**facts.get("clocks", {}), **_clock_limits(session)},
    }
    identity = identity_fields(session.facts.get("board"))
    if identity is not None:
        record["identity"] = identity
    if gpu.get("gpu"):
        record["accelerator"] = {key: gpu[key] for key in OF_THE_GPU if gpu.get(key) is not None}
    driven = session.engines.facts(row.model, row.precision)
    if any(key in driven for key in OF_THE_RUN):
        record["driven_by"] = {key: driven[key] for key in OF_THE_RUN if key in driven}
    if row.model:
        parts = {f"{part.role} {part.name}": part.digest[:SHORT] for part in session.parts(row.model)}
        record["models"] = {row.model: parts}
    return plain(record)  # type: ignore[no-any-return]  # a dict stays one


def _clock_limits(session: EngineContext) -> dict[str, Any]:
    """Return, for each clock that was read at the session's start, its governor and its limits in Hz."""
    parts = State.read(session.state.opened).clocks
    return {part: {key: of.get(key) for key in ("governor", "min", "max")} for part, of in parts.items()}


def target(session: EngineContext) -> dict[str, Any]:
    """Return the record of the target.

    ``board`` is the declared board if the probe confirmed it, else ``None``. ``facts`` is what the probe read; for a
    Jetson it also has ``identity``, which is derived from it.
    """
    board = None if session.board is None else session.board.declared
    identity = identity_fields(session.facts.get("board"))
    facts = session.facts if identity is None else {**session.facts, "identity": identity}
    return {
        "kind": session.spec.kind,
        "fallback_reason": session.fallback_reason,
        "facts": facts,
        "board": board,
        "contract": session.state.contract.plain(),
    }


def engines(session: EngineContext, row: Row) -> list[dict[str, Any]]:
    """Return a list with the record of the row's engine; empty if it has no engine or the engine cannot be built."""
    try:
        made = session.engines.provisioned(row.model, row.precision) if row.model and row.precision else None
    except (LabError, UserError):
        raise
    except HilError:  # the engine cannot be built, and the rows that need it report why
        return []
    if made is None:
        return []
    return [_engine(session, row, made)]


def _engine(session: EngineContext, row: Row, made: Provisioned) -> dict[str, Any]:
    engine = made.engine
    loaded = session.engines.loaded(row.model, row.precision)
    executed_on = loaded.executed_on
    return {
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
        "built_on": None if engine.built_on == own_name(session) else engine.built_on,
        # Either is enough: an engine of unknown origin must never count as built here.
        "foreign": made.foreign or session.model(row.model).engine is not None,
        "log": _bounded(engine.log),
        "about": plain(_about(engine, loaded.about, made.converted)),
        "trtexec": _trtexec(session, row.model, made),
        "executed_on": None if executed_on is None else executed_on.model_dump(),
        "calibration_cache": _calibration_cache(made),
        "external": [dict(one) for one in made.external],
    }


def _calibration_cache(made: Provisioned) -> str | None:
    """Return the SHA-256 of what calibration wrote: the model with Q/DQ nodes, or TensorRT's calibration cache.

    Return ``None`` if nothing was calibrated for this engine.
    """
    if made.quantized is not None and not made.quantized.provenance.get("foreign"):
        return made.quantized.digest
    calibration = made.engine.about.get("calibration")
    digest = calibration.get("digest") if isinstance(calibration, dict) else None
    return digest if isinstance(digest, str) and DIGEST.fullmatch(digest) else None


def _bounded(log: str) -> str:
    """Return the log, or its last 16,000 characters if it is longer."""
    left = len(log) - LOG_LETTERS
    return log if left <= 0 else f"… {left} characters before\n{log[-LOG_LETTERS:]}"


def _about(
    engine: BuiltEngine, loaded: Mapping[str, Any], converted: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return what the build recorded (caches, calibration, flags, peak memory in bytes), with facts from ``loaded``.

    ``loaded`` is empty if this process has not loaded the engine. ``converted`` describes how the host converted the
    model to another float type (``None`` if it did not).
    """
    about = dict(engine.about)
    if converted is not None:
        about["converted"] = dict(converted)
    own = {key: loaded[key] for key in OF_ONE_ENGINE if loaded.get(key) is not None}
    if own:
        about["loaded"] = own
    calibration = about.get("calibration")
    if isinstance(calibration, dict) and len(calibration.get("scales") or {}) > MOST_SCALES:
        about["calibration"] = {**calibration, "scales": f"of {len(calibration['scales'])} tensors"}
    return about if engine.peak is None else {**about, "peak": dict(engine.peak)}


def _trtexec(session: EngineContext, name: str, made: Provisioned) -> dict[str, Any] | None:
    """Return the trtexec commands equivalent to our build and timing, and how they differ from ours.

    Returns ``None`` for a runtime without trtexec and for an engine that was built elsewhere.
    """
    engine, spec = made.engine, session.model(name)
    if not runtime_record(engine.runtime).has_trtexec or made.foreign:
        return None
    options = {**(engine.facts.get("options") or {}), **session.load_options(name), "plugins": spec.build.plugins}
    if engine.facts.get("calibration"):
        options["calibration"] = engine.facts["calibration"]
    source = spec.path if made.quantized is None and made.converted is None else made.source.name
    command = equivalent(source, str(engine.facts.get("precision")), options, engine.runtime_version)
    return {"command": str(command), "timing": shlex.join(command.timing), "differs": list(command.differences)}


def models(session: EngineContext, row: Row) -> list[dict[str, Any]]:
    """Return a list with the record of the row's model and its data; empty for a row without a model."""
    return [session.memo.once(("record", row.model), lambda: _model(session, row.model))] if row.model else []


def _model(session: EngineContext, name: str) -> dict[str, Any]:
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
    parts = session.parts(name)
    return {
        "name": name,
        "path": spec.path,
        "digest": next(part.digest for part in parts if part.role == ONNX),
        "identity": identity_of(parts),
        "parts": [part.model_dump() for part in parts],
        "data": spec.data,
        "data_digest": data.digest,
        "data_provenance": dict(data.provenance),
        "samples": data.count,
        "synthetic": data.synthetic,
        "calibration": calibration,
        "reference": reference,
    }
