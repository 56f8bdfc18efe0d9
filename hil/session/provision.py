"""model -> engine: calibrated on the host where INT8 wants it, uploaded, built on the target, brought home."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hil.errors import Unsupported
from hil.files import writing
from hil.units import show

if TYPE_CHECKING:
    from pathlib import Path

    from hil.config.spec import ModelSpec
    from hil.quantize import Quantized
    from hil.session.core import Session
    from hil.targets.answers import BuiltEngine

BUILD_DEADLINE = 1800.0


@dataclass(frozen=True)
class Provisioned:
    """An engine with the ONNX it was built from; ``file`` is its copy below the report's folder."""

    engine: BuiltEngine
    source: Path
    quantized: Quantized | None
    file: str


def provision(session: Session, name: str, precision: str) -> Provisioned:
    """Builds ``name`` in ``precision`` on the session's target.

    Raises ``Unsupported`` if the runtime or this version cannot, ``EngineBuildError`` with the
    runtime's own words if the build failed, ``UserError`` for data that cannot be calibrated on.
    """
    spec = session.model(name)
    if spec.engine is not None:
        raise Unsupported(
            f"an engine that was built elsewhere ({spec.engine}) cannot be judged by this version: model {name}: "
            "take 'engine' out, and it is built from the ONNX file"
        )
    source = session.config.resolve(spec.path)
    session.sources.watch(source)
    quantized = None
    if precision == "int8" and not session.signature(name).has_qdq:
        quantized = calibrated(session, name)
        source = quantized.path
    options: dict[str, Any] = {} if quantized is None else {"calibration": quantized.key}
    digest = session.agent.put_blob(source)
    session.progress(f"{name} {precision}: building on {session.used}")
    engine = session.agent.build(digest, precision, session.spec.runtime, options, BUILD_DEADLINE)
    told = "in the store already" if engine.cached else f"built in {engine.seconds:.2f} s"
    session.progress(f"{name} {precision}: engine of {show(engine.size, 'B')} {told}")
    return Provisioned(engine, source, quantized, _bring_home(session, engine, digest, name, precision))


def calibrated(session: Session, name: str) -> Quantized:
    """The model with Q/DQ nodes in it, from the declared calibration data; made once."""
    return session.memo.once(("quantized", name), lambda: _calibrate(session, name, session.model(name)))


def _calibrate(session: Session, name: str, spec: ModelSpec) -> Quantized:
    if spec.calibration is None:
        raise Unsupported(f"int8 needs data to calibrate on: model {name}: add [models.{name}.calibration]")
    if spec.calibration.route == "implicit":
        message = "the implicit route is TensorRT's own calibrator, which this runtime does not have"
        raise Unsupported(f'{message}: model {name} on target {session.used}: use route = "explicit"')
    from hil.quantize import quantize  # noqa: PLC0415 - heavy, and only INT8 needs it

    session.progress(f"{name} int8: calibrating ({spec.calibration.method})")
    folder = session.config.resolve(session.config.spec.project.cache) / "quantized"
    path, data = session.config.resolve(spec.path), session.calibration_data(name)
    return quantize(path, folder, data, spec.calibration, runtime=session.spec.runtime)


def _bring_home(session: Session, engine: BuiltEngine, uploaded: str, name: str, precision: str) -> str:
    folder = session.report_dir / "engines"
    suffix = "onnx" if engine.digest == uploaded else "plan"
    file = folder / f"{name}-{precision}-{engine.digest[:12]}.{suffix}"
    with writing(folder):
        session.agent.get_blob(engine.digest, file)
    return f"{folder.name}/{file.name}"
