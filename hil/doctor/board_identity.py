"""Judge which machine the target is, and whether it is the one that the config declares."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hil.doctor.findings import Case, Finding, State
from hil.jetson import Identity, Module, identify, module_of
from hil.session.target.board_match import VENDOR, is_gpu, runtime_facts, slug
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterator


def findings(case: Case) -> Iterator[Finding]:
    """Yield the findings on holder, machine, board, serial number, JetPack and container."""
    identity = identify(case.facts.get("board"))
    yield _holder(case)
    yield _machine(case)
    yield _board(case, identity)
    if identity.is_jetson or case.spec.serial is not None:
        yield _serial(case, identity)
    if identity.is_jetson:
        yield _jetpack(identity)
        yield from (Finding("target", "doubt", doubt, "unknown") for doubt in identity.doubts)
    yield from _container(case, identity)


def _holder(case: Case) -> Finding:
    """Return the finding on who holds the target. A holder is not an error, because doctor works during a session."""
    if not case.held:
        return Finding("target", "held", "by nobody")
    holder = case.table("holder")
    who, host, since = (case.text("holder", key) for key in ("who", "host", "since"))
    holding = f"by {who or 'somebody'} from host {host or 'unknown'} since {since or 'unknown'}"
    if who is None and holder.get("why"):
        holding = f"unknown ({case.text('holder', 'why')})"
    result = f"{holding}; queries that would disturb the session were skipped"
    return Finding("target", "held", result, "ok" if who else "unknown")


def _machine(case: Case) -> Finding:
    total = case.table("memory").get("total")
    memory = show(total, "B") if isinstance(total, int) else "unknown memory"
    model = case.text("board", "model") or case.text("cpu_model") or "unknown model"
    parts = [case.text("hostname") or "no name", model, case.text("machine") or "", memory]
    kernel = case.text("kernel")
    return Finding("target", "machine", ", ".join([*filter(None, parts), *([f"Linux {kernel}"] if kernel else [])]))


def _board(case: Case, identity: Identity) -> Finding:
    module = module_of(case.spec.board or "")
    if module is not None:
        return _module(case, module, identity)
    if case.spec.board is not None:
        return _gpu(case, case.spec.board, identity)
    if identity.module is not None:
        return _undeclared(case, identity.module.slug, _known(identity))
    if identity.is_jetson:
        return Finding("target", "board", f"unknown: {identity.why}", "unknown")
    return Finding("target", "board", "not a Jetson, and no board is declared")


def _known(identity: Identity) -> str:
    return f"{identity.module.slug} (part {identity.part})" if identity.module else "unknown module"


def _module(case: Case, declared: Module, identity: Identity) -> Finding:
    if identity.module is None:
        result = f"not confirmed as {declared.slug}: {identity.why}"
        return Finding("target", "board", result, "bad", f"hil probe {case.name} --json  # prints the board's facts")
    if identity.module.slug == declared.slug:
        return Finding("target", "board", f"{_known(identity)}, as declared")
    fix = f'board = "{identity.module.slug}"  {case.config}, or use the declared board'
    return Finding("target", "board", f"{_known(identity)}, not {declared.slug} as declared", "bad", fix)


def _undeclared(case: Case, actual: str, known: str) -> Finding:
    """Return the finding for a Jetson whose target has no ``board``; without it, results are only host evidence."""
    if not case.wants_gpu or case.spec.evidence == "emulated":
        return Finding("target", "board", f"{known}, but no board is declared")
    result = f"{known}, but no board is declared: its results are only host evidence"
    return Finding("target", "board", result, "warn", f'board = "{actual}"  {case.config}')


def _gpu(case: Case, declared: str, identity: Identity) -> Finding:
    """Return the finding for a board that is declared by its GPU."""
    gpu = runtime_facts(case.facts, case.spec.runtime, case.spec.gpu).get("gpu")
    if case.held:
        return Finding("target", "board", f"{declared} is declared; its GPU was not queried", "unknown")
    if not isinstance(gpu, str):
        fix = "nvidia-smi -L  # must list the GPU on the target; if it does, read the findings on software"
        return Finding("target", "board", f"not confirmed as {declared}: no GPU responds", "bad", fix)
    if is_gpu(declared, gpu) and identity.module is None:
        return Finding("target", "board", f"{gpu}, as declared")
    actual = identity.module.slug if identity.module else slug(gpu).removeprefix(VENDOR)
    fix = f'board = "{actual}"  {case.config}, or use the declared board'
    return Finding("target", "board", f"{actual}, not {declared} as declared", "bad", fix)


def _serial(case: Case, identity: Identity) -> Finding:
    declared = case.spec.serial
    if declared is None:
        return Finding("target", "serial", identity.serial or f"none{case.why('serial')}")
    if identity.serial == declared:
        return Finding("target", "serial", f"{identity.serial}, as declared")
    result = (
        f"{identity.serial}, not {declared} as declared" if identity.serial else f"none to confirm{case.why('serial')}"
    )
    fix = f"serial = {json.dumps(identity.serial)}  {case.config}, or use the declared board"
    if not identity.serial:
        fix = f"remove serial from [targets.{case.name}]"
    return Finding("target", "serial", result, "bad", fix)


def _jetpack(identity: Identity) -> Finding:
    if identity.jetpack is None and identity.l4t is None:
        return Finding("target", "jetpack", "neither JetPack nor L4T is known", "unknown")
    state: State = "ok" if identity.release is not None else "unknown"
    return Finding(
        "target", "jetpack", f"{identity.jetpack or 'unknown JetPack'}, L4T {identity.l4t or 'unknown'}", state
    )


def _container(case: Case, identity: Identity) -> Iterator[Finding]:
    container = case.text("board", "container")
    if container == "none":
        yield Finding("target", "container", "none: the machine's own system")
    elif container is None:
        yield Finding("target", "container", f"unknown{case.why('container')}", "unknown")
    else:
        result = f"{container}: power mode, clocks and services of the machine itself may not be visible"
        yield Finding("target", "container", result, "warn" if identity.is_jetson or case.spec.kind == "ssh" else "ok")
