"""Which machine it is, and whether it is the one that the config declares."""

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
    """Machine, module, serial number, JetPack, container, and who holds it."""
    found = identify(case.facts.get("board"))
    yield _holder(case)
    yield _machine(case)
    yield _board(case, found)
    if found.is_jetson or case.spec.serial is not None:
        yield _serial(case, found)
    if found.is_jetson:
        yield _jetpack(found)
        yield from (Finding("target", "doubt", doubt, "unknown") for doubt in found.doubts)
    yield from _container(case, found)


def _holder(case: Case) -> Finding:
    """Told, not an error: the doctor works beside a session."""
    if not case.held:
        return Finding("target", "held", "by nobody")
    holder = case.table("holder")
    who, host, since = (case.text("holder", key) for key in ("who", "host", "since"))
    told = f"by {who or 'somebody'} from host {host or 'unknown'} since {since or 'unknown'}"
    if who is None and holder.get("why"):
        told = f"cannot be told ({case.text('holder', 'why')})"
    return Finding("target", "held", f"{told}; what would disturb was not asked", "ok" if who else "unknown")


def _machine(case: Case) -> Finding:
    total = case.table("memory").get("total")
    memory = show(total, "B") if isinstance(total, int) else "unknown memory"
    model = case.text("board", "model") or case.text("cpu_model") or "of no known model"
    words = [case.text("hostname") or "no name", model, case.text("machine") or "", memory]
    kernel = case.text("kernel")
    return Finding("target", "machine", ", ".join([*filter(None, words), *([f"Linux {kernel}"] if kernel else [])]))


def _board(case: Case, found: Identity) -> Finding:
    module = module_of(case.spec.board or "")
    if module is not None:
        return _module(case, module, found)
    if case.spec.board is not None:
        return _gpu(case, case.spec.board, found)
    if found.module is not None:
        return _undeclared(case, found.module.slug, _known(found))
    if found.is_jetson:
        return Finding("target", "board", f"not known: {found.why}", "unknown")
    return Finding("target", "board", "no Jetson, and none declared")


def _known(found: Identity) -> str:
    return f"{found.module.slug} (part {found.part})" if found.module else "no known module"


def _module(case: Case, declared: Module, found: Identity) -> Finding:
    if found.module is None:
        told = f"not confirmed as {declared.slug}: {found.why}"
        return Finding("target", "board", told, "bad", f"hil probe {case.name} --json  # shows what was read")
    if found.module.slug == declared.slug:
        return Finding("target", "board", f"{_known(found)}, as declared")
    mend = f'board = "{found.module.slug}"  {case.config}, or ask for the board that was meant'
    return Finding("target", "board", f"{_known(found)}, not {declared.slug} as declared", "bad", mend)


def _undeclared(case: Case, called: str, known: str) -> Finding:
    """Only a declared board makes evidence of a device, and only work on its GPU can be that."""
    if not case.wants_gpu or case.spec.evidence == "emulated":
        return Finding("target", "board", f"{known}, none declared")
    told = f"{known}, none declared: results count as a host's"
    return Finding("target", "board", told, "warn", f'board = "{called}"  {case.config}')


def _gpu(case: Case, declared: str, found: Identity) -> Finding:
    """A board that is known by its GPU."""
    gpu = runtime_facts(case.facts, case.spec.runtime, case.spec.gpu).get("gpu")
    if case.held:
        return Finding("target", "board", f"{declared} is declared; its GPU was not asked", "unknown")
    if not isinstance(gpu, str):
        return Finding("target", "board", f"not confirmed as {declared}: no GPU answers", "bad")
    if is_gpu(declared, gpu) and found.module is None:
        return Finding("target", "board", f"{gpu}, as declared")
    called = found.module.slug if found.module else slug(gpu).removeprefix(VENDOR)
    mend = f'board = "{called}"  {case.config}, or ask for the board that was meant'
    return Finding("target", "board", f"{called}, not {declared} as declared", "bad", mend)


def _serial(case: Case, found: Identity) -> Finding:
    declared = case.spec.serial
    if declared is None:
        return Finding("target", "serial", found.serial or f"none{case.why('serial')}")
    if found.serial == declared:
        return Finding("target", "serial", f"{found.serial}, as declared")
    told = f"{found.serial}, not {declared} as declared" if found.serial else f"none to confirm{case.why('serial')}"
    meant = f"serial = {json.dumps(found.serial)}  {case.config}, or ask for the one that was meant"
    mend = meant if found.serial else ""
    return Finding("target", "serial", told, "bad", mend or f"take serial out of [targets.{case.name}]")


def _jetpack(found: Identity) -> Finding:
    if found.jetpack is None and found.l4t is None:
        return Finding("target", "jetpack", "neither JetPack nor L4T can be told", "unknown")
    state: State = "ok" if found.release is not None else "unknown"
    return Finding("target", "jetpack", f"{found.jetpack or 'not in the table'}, L4T {found.l4t or 'not known'}", state)


def _container(case: Case, found: Identity) -> Iterator[Finding]:
    inside = case.text("board", "container")
    if inside == "none":
        yield Finding("target", "container", "none: the machine's own system")
    elif inside is None:
        yield Finding("target", "container", f"cannot be told{case.why('container')}", "unknown")
    else:
        told = f"{inside}: power mode, clocks and services of the machine itself may not be seen"
        yield Finding("target", "container", told, "warn" if found.is_jetson or case.spec.kind == "ssh" else "ok")
