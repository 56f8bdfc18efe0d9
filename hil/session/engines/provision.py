"""Make an engine of a model: calibrate for INT8, upload, build on the target, copy the engine to the report."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hil.checks.int8_floating import floating_texts
from hil.errors import CalibrationError, EngineBuildError, Unsupported, UserError, WorkerLost
from hil.files.digests import writing
from hil.jetson.kernels import kernels_text
from hil.onnx_files.declared_shapes import wrong_declaration
from hil.onnx_files.external_data import copy_by_digest, external_files
from hil.onnx_files.ort_errors import check_operators
from hil.onnx_files.signature import read_signature
from hil.runtimes import runtime_record
from hil.session.engines import equal_boards
from hil.session.engines.engine_source import source_of
from hil.session.engines.known_faults import faults_text, own_fault_text
from hil.session.engines.shape_profiles import profiles_of
from hil.session.target.board_match import runtime_facts
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from hil.config.spec import ModelSpec
    from hil.quantize import Quantized
    from hil.session.context import Context
    from hil.session.engines.implicit_calibration import Streamed
    from hil.targets.answers import BuiltEngine

ENGINES = "engines"
"""The folder of a report that holds its engines."""

DLA_PRECISIONS = frozenset({"fp16", "int8"})
"""The precisions that a DLA supports. Engines of other precisions, with which int8 is compared, run on the GPU."""


@dataclass(frozen=True)
class Provisioned:
    """An engine, and ``source``, the ONNX file that it was built from.

    Attributes:
        engine: the engine.
        source: the ONNX file.
        quantized: the model with Q/DQ nodes if it was calibrated on the host (explicit route), else ``None``.
        file: the path of the engine's copy, relative to the report's folder.
        streamed: the data for TensorRT's calibrator if that was used (implicit route), else ``None``.
        converted: how the host converted the model to fp16 or bf16, for the report; ``None`` if it did not.
        external: the external data files of an engine that is an ONNX file, as the report's ``ExternalData``; else
            empty.
    """

    engine: BuiltEngine
    source: Path
    quantized: Quantized | None
    file: str
    streamed: Streamed | None = None
    external: tuple[Mapping[str, Any], ...] = ()
    converted: Mapping[str, Any] | None = None

    @property
    def foreign(self) -> bool:
        """Whether the engine was built elsewhere. If so, ``source`` is only the reference's ONNX file."""
        return bool(self.engine.facts.get("foreign"))


def provision(session: Context, name: str, precision: str, *, more: bool = False) -> Provisioned:
    """Build model ``name`` in ``precision`` on the session's target, or use the engine that the config names.

    ``more`` tells the target that another build follows. Raise ``Unsupported`` if the runtime does not support such an
    engine, ``EngineBuildError`` if the build failed or the data cannot be used for calibration, and ``WorkerLost`` if
    the process of the build died or exceeded its limit.
    """
    spec = session.model(name)
    if spec.engine is not None:
        return _store_foreign(session, name, precision, spec)
    source, converted = source_of(session, name, precision, spec)
    sm = str(runtime_facts(session.facts, session.spec.runtime, session.spec.gpu).get("sm") or "")
    faults = faults_text(session, name, precision, source) + kernels_text(session.facts, sm)
    if not runtime_record(session.spec.runtime).compiles:
        check_operators(source, read_signature(source).foreign)
    quantized, streamed = None, None
    if spec.deployed_in(precision) is None and precision == "int8" and not session.signature(name).has_qdq:
        if is_implicit(session, name):
            streamed = calibration_stream(session, name)
        else:
            quantized = calibrated(session, name)
            source = quantized.path
    options = build_options(session, name, precision, spec)
    if quantized is not None:
        options["calibration"] = quantized.key
    if streamed is not None:
        options |= {"calibration": streamed.key, "implicit": streamed.option()}
    with session.progress.step(f"{name} {precision}: sending the model to {session.used}", said=False):
        digest, external = session.agent.put_model(source)
    limit, runtime = spec.build.time_limit, session.spec.runtime
    with session.progress.step(f"{name} {precision}: building on {session.used}", seconds=limit):
        try:
            engine = equal_boards.build(session, digest, precision, options, limit, more=more, external=external)
        except EngineBuildError as error:
            helps = wrong_declaration(session.config.resolve(spec.deployed_in(precision) or spec.path))
            own = own_fault_text(quantized, spec.path)
            raise EngineBuildError(f"{error}: {helps}{own}{faults}" if helps else f"{error}{own}{faults}") from None
        except WorkerLost as error:
            raise WorkerLost(
                f"{error}: building model {name} {precision} on target {session.used}: run again; if this repeats, "
                f"{runtime_record(runtime).label} cannot build this file: simplify it, or export it with an older opset"
            ) from None
    elsewhere = f"built on {engine.built_on}" if engine.built_on else f"built in {engine.seconds:.2f} s"
    origin = "in the store already" if engine.cached else elsewhere
    session.progress(f"{name} {precision}: engine of {show(engine.size, 'B')} {origin}")
    is_onnx = engine.digest == digest
    file = _copied_to_report(session, engine, "onnx" if is_onnx else "plan", name, precision)
    beside = _with_external(session, source) if is_onnx else ()
    return Provisioned(engine, source, quantized, file, streamed, beside, converted)


def build_options(session: Context, name: str, precision: str, spec: ModelSpec) -> dict[str, Any]:
    """Upload the plugins and return TensorRT's build options; empty for a runtime that does not compile."""
    if not runtime_record(session.spec.runtime).compiles:
        return {}
    options = _runtime_options(session, precision, spec)
    if spec.build.workspace is not None:
        options["workspace"] = int(spec.build.workspace)
    if spec.build.optimization_level is not None:
        options["optimization_level"] = spec.build.optimization_level
    if spec.build.strongly_typed:
        options["strongly_typed"] = True
    profiles = profiles_of(session.signature(name), spec, name)
    if profiles:
        options["profiles"] = profiles
    return options


def _runtime_options(session: Context, precision: str, spec: ModelSpec) -> dict[str, Any]:
    """Return the options that apply to an engine whether it was built here or elsewhere: plugins, DLA core, GPU."""
    options: dict[str, Any] = {}
    if spec.build.plugins:
        options["plugins"] = [_uploaded(session, plugin) for plugin in spec.build.plugins]
    if spec.build.dla is not None and precision in DLA_PRECISIONS:
        options["dla"] = spec.build.dla
    if session.spec.gpu:
        options["gpu"] = session.spec.gpu
    return options


def _uploaded(session: Context, file: str) -> str:
    path = session.config.resolve(file)
    session.sources.watch(path)
    return session.agent.put_blob(path)


def _store_foreign(session: Context, name: str, precision: str, spec: ModelSpec) -> Provisioned:
    """Upload the engine that was built elsewhere and return it.

    Raises ``Unsupported`` if the runtime accepts only engines that it built, or if the engine does not have
    ``precision``.
    """
    assert spec.engine is not None  # noqa: S101 - the caller's condition; for the type checker
    if not runtime_record(session.spec.runtime).takes_foreign_engines:
        raise Unsupported(
            f"an engine that was built elsewhere ({spec.engine}) can be used by TensorRT only: model {name} on "
            f"target {session.used}: remove 'engine' to have it built from the ONNX file"
        )
    # The file has one precision: under any other it would be compared with itself.
    if tuple(spec.precisions) != (precision,):
        raise Unsupported(
            f"there is no {precision} engine of model {name}: the file engine = {spec.engine!r} has the precision "
            f"{', '.join(spec.precisions)}: remove 'engine' to have one built in {precision}"
        )
    path = session.config.resolve(spec.engine)
    session.sources.watch(path)
    digest = session.agent.put_blob(path)
    options = _runtime_options(session, precision, spec)
    engine = session.agent.adopt(digest, precision, session.spec.runtime, options)
    session.progress(f"{name} {precision}: engine of {show(engine.size, 'B')} from {spec.engine}, built elsewhere")
    return Provisioned(engine, session.onnx(name), None, _copied_to_report(session, engine, "plan", name, precision))


def is_implicit(session: Context, name: str) -> bool:
    """Return true if TensorRT's own calibrator computes the INT8 ranges, false if hil computes them on the host.

    Raises ``Unsupported`` if the config names no calibration data or selects a calibrator that the runtime does not
    have.
    """
    calibration = session.model(name).calibration
    if calibration is None:
        raise Unsupported(f"int8 needs data to calibrate on: model {name}: add [models.{name}.calibration]")
    if calibration.route != "implicit":
        return False
    if not runtime_record(session.spec.runtime).compiles:
        message = "the implicit route is TensorRT's own calibrator, which this runtime does not have"
        raise Unsupported(f'{message}: model {name} on target {session.used}: use route = "explicit"')
    return True


def calibration_stream(session: Context, name: str) -> Streamed:
    """Return the description of the samples for TensorRT's calibrator. The first call uploads them to the target."""
    return session.memo.once(("streamed", name), lambda: _stream(session, name))


def _stream(session: Context, name: str) -> Streamed:
    from hil.session.engines.implicit_calibration import stream
    from hil.session.engines.int64 import narrows

    spec = session.model(name)
    assert spec.calibration is not None  # noqa: S101 - is_implicit checked it; for the type checker
    text = f"{name} int8: sending calibration data ({spec.calibration.method}, implicit)"
    with of_one_model(), session.progress.step(text):
        return stream(
            session.agent,
            path=session.onnx(name),
            name=name,
            signature=session.signature(name),
            data=session.calibration_data(name),
            spec=spec.calibration,
            cache=session.config.resolve(session.config.spec.project.cache) / "calibration",
            narrow=narrows(session.spec.runtime, str((session.facts.get("runtimes") or {}).get(session.spec.runtime))),
        )


@contextlib.contextmanager
def of_one_model() -> Iterator[None]:
    """Turn a ``UserError`` of the ``with`` block into ``CalibrationError``, so that only the affected rows fail."""
    try:
        yield
    except UserError as error:
        raise CalibrationError(error) from None


def calibrated(session: Context, name: str) -> Quantized:
    """Return the model with Q/DQ nodes; the first call calibrates it on the host with the declared data."""
    return session.memo.once(("quantized", name), lambda: _calibrate(session, name, session.model(name)))


def _calibrate(session: Context, name: str, spec: ModelSpec) -> Quantized:
    from hil.quantize import quantize

    assert spec.calibration is not None  # noqa: S101 - is_implicit checked it; for the type checker
    path, data = session.onnx(name), session.calibration_data(name)
    samples = spec.calibration.samples or data.count
    text = f"{name} int8: calibrating ({spec.calibration.method})"
    with of_one_model(), session.progress.step(text, total=samples, unit="samples") as step:
        folder = session.config.resolve(session.config.spec.project.cache) / "quantized"
        check_operators(path, session.signature(name).foreign)
        layout = runtime_record(session.spec.runtime).qdq_layout
        quantized = quantize(path, folder, data, spec.calibration, layout=layout, counted=step.advance)
    for text in floating_texts(quantized.provenance.get("floating", {})):
        session.progress(f"{name} int8: {text}")
    return quantized


def _with_external(session: Context, source: Path) -> tuple[Mapping[str, Any], ...]:
    """Copy the external data of ``source`` to the report's engines, and return the records of these files."""
    folder = session.report_dir / ENGINES
    with writing(folder):
        return tuple(
            {
                "file": f"{ENGINES}/{copy_by_digest(file.path, folder)}",
                "digest": file.location,
                "size": file.path.stat().st_size,
            }
            for file in external_files(source)
        )


def _copied_to_report(session: Context, engine: BuiltEngine, suffix: str, name: str, precision: str) -> str:
    folder = session.report_dir / ENGINES
    file = folder / f"{name}-{precision}-{engine.digest[:12]}.{suffix}"
    text = f"{name} {precision}: copying the engine of {show(engine.size, 'B')}"
    with writing(folder), session.progress.step(text, said=False):
        if not equal_boards.copied(session, engine, file):
            session.agent.get_blob(engine.digest, file, engine.size)
    return f"{ENGINES}/{file.name}"
