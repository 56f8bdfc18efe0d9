"""Choose the ONNX file that an engine is built from: ``path``, ``deployed``, or a conversion for strong typing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hil.catalogue import QUANTIZED
from hil.config.fields import BROUGHT
from hil.errors import Unsupported
from hil.jetson.supported_precisions import refusal
from hil.onnx_files.precisions import STORED, how_to_bring
from hil.onnx_files.quantized_graph import read_precisions
from hil.onnx_files.signature import read_signature
from hil.runtimes import runtime_record
from hil.session.target.board_match import runtime_facts

if TYPE_CHECKING:
    from pathlib import Path

    from hil.config.spec import ModelSpec
    from hil.quantize.half import Converted
    from hil.session.context import Context

HALF = frozenset({"fp16", "bf16"})
"""The float precisions to which the host converts an ONNX file for a strongly typed network."""


def source_of(session: Context, name: str, precision: str, spec: ModelSpec) -> tuple[Path, dict[str, Any] | None]:
    """Return the ONNX file that the engine is built from, and how the host converted it (``None`` if it did not).

    Raise ``Unsupported`` if the target cannot run ``precision``, or if there is no file for it.
    """
    _check_possible(session, name, precision)
    source = _file(session, name, precision, spec)
    converted = _converted(session, name, precision, spec, source)
    return (source, None) if converted is None else (converted.path, converted.record)


def _check_possible(session: Context, name: str, precision: str) -> None:
    """Raise ``Unsupported`` if the target's GPU or its release of TensorRT cannot run ``precision``."""
    runtime = session.spec.runtime
    if runtime_record(runtime).comes_with_jetpack:
        sm = runtime_facts(session.facts, runtime, session.spec.gpu).get("sm")
        why = refusal(precision, None if sm is None else str(sm), version_of(session))
        if why:
            advice = f"leave {precision} out of precisions for this target"
            raise Unsupported(f"{why}: model {name} on target {session.used}: {advice}")


def version_of(session: Context) -> str | None:
    """Return the version of the target's runtime; ``None`` if it is unknown."""
    version = (session.facts.get("runtimes") or {}).get(session.spec.runtime)
    return None if version is None else str(version)


def is_typed(session: Context, spec: ModelSpec) -> bool:
    """Return whether the engine's network is strongly typed: the ONNX file decides the type of each layer."""
    record = runtime_record(session.spec.runtime)
    major = (version_of(session) or "").partition(".")[0]
    always = record.typed_since is not None and major.isdigit() and int(major) >= record.typed_since
    return record.compiles and (spec.build.strongly_typed or always)


def _converted(session: Context, name: str, precision: str, spec: ModelSpec, source: Path) -> Converted | None:
    """Return the file in fp16 or bf16 for a strongly typed network; ``None`` where nothing has to be converted."""
    from hil.quantize.half import convert

    if precision not in HALF or not is_typed(session, spec) or precision in read_precisions(source).shares():
        return None

    def work() -> Converted:
        folder = session.config.resolve(session.config.spec.project.cache) / "typed"
        with session.progress.step(f"{name} {precision}: converting the model"):
            converted = convert(source, folder, precision)
        session.progress(f"{name} {precision}: {converted}")
        return converted

    return session.memo.once(("converted", name, precision), work)


def _file(session: Context, name: str, precision: str, spec: ModelSpec) -> Path:
    """Return the ONNX file that the engine is built from: the config's ``deployed`` or ``path``.

    A quantized ``deployed`` is used only for the precisions that it is quantized to. Raise ``Unsupported`` if neither
    file fits the precision.
    """
    where, deployed = f"model {name} on target {session.used}", spec.deployed_in(precision)
    if deployed is not None:
        source = session.addressed(session.config.resolve(deployed), name)
        is_quantized = bool(read_signature(source).quantized)
        if precision in QUANTIZED:
            advice = f"{where}: quantize the float model with Q/DQ nodes, or leave {precision} out of precisions"
            _check_quantized(source, precision, advice, deployed)
        if precision in QUANTIZED or not is_quantized:
            return source
    elif precision in BROUGHT:
        raise Unsupported(f"{how_to_bring(spec.path, precision)}: {where}")
    if precision != "int8" and session.signature(name).has_qdq:
        raise Unsupported(
            f"{spec.path} is quantized, so it cannot be built in {precision}: {where}: write the float model as path "
            "and this file as deployed"
        )
    return session.onnx(name)


def _check_quantized(source: Path, precision: str, advice: str, name: str) -> None:
    """Raise ``Unsupported`` if the file has no Q/DQ nodes of this precision."""
    kinds = {STORED.get(one.dtype, "another type") for one in read_precisions(source).tensors}
    if not kinds:
        others = ", ".join(read_signature(source).quantized)
        end = f"but {others}, which TensorRT does not run" if others else f"so it would not run in {precision}"
        raise Unsupported(f"{name} has no QuantizeLinear and DequantizeLinear nodes, {end}: {advice}")
    if precision not in kinds:
        raise Unsupported(f"{name} is quantized to {', '.join(sorted(kinds))}, not to {precision}: {advice}")
