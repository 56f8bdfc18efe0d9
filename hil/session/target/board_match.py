"""Confirm that the machine is the declared one, by the target's ``runtime``, ``board`` and ``serial``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hil.errors import LabError, TargetUnreachable
from hil.jetson import SMS, Identity, Module, identify, module_of
from hil.runtimes import runtime_record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hil.config.spec import TargetSpec
    from hil.results import ExecutedOn

VENDOR = "nvidia-"
DEVICES = ("gpu", "dla")
"""The kinds of processors that count as a device; work on any other kind counts as the host's."""


@dataclass(frozen=True)
class Board:
    """A confirmed board.

    Attributes:
        declared: its declared name.
        gpu: the name of its GPU; ``None`` if the runtime uses no GPU.
        sm: the SM of its GPU (``8.7``); ``None`` if the runtime uses no GPU.
        module: the name of the Jetson module; ``None`` for any other board.
    """

    declared: str
    gpu: str | None
    sm: str | None
    module: str | None = None

    def ran(self, work: ExecutedOn | None) -> bool:
        """Return whether the processor ``work`` is the GPU or a DLA of this board."""
        if work is None or self.gpu is None or self.sm is None:
            return False
        return work.kind in DEVICES and (work.name, work.sm) == (self.gpu, self.sm)


def slug(text: str) -> str:
    """Return a GPU's name in the form of ``board``: ``nvidia-geforce-rtx-4090`` for ``NVIDIA GeForce RTX 4090``."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def is_gpu(board: str, gpu: str) -> bool:
    """Return whether ``board`` is the whole name of the GPU ``gpu``, with or without the vendor's name."""
    declared, probed = slug(board).removeprefix(VENDOR), slug(gpu).removeprefix(VENDOR)
    return bool(declared) and declared == probed


def runtime_facts(facts: Mapping[str, Any], runtime: str, number: int = 0) -> dict[str, Any]:
    """Return the probe's facts of ``runtime`` (``gpu``, ``sm``, ``cuda`` and others) for GPU ``number``.

    The result is empty if the probe read no facts. A fact that is unknown for this GPU is ``None``.
    """
    by_runtime = facts.get("facts")
    known = by_runtime.get(runtime) if isinstance(by_runtime, dict) else None
    if not isinstance(known, dict) or not number or not known.get("gpu"):
        return dict(known) if isinstance(known, dict) else {}
    listed = [one for one in facts.get("gpus") or [] if isinstance(one, dict) and one.get("number") == number]
    here = listed[0] if len(listed) == 1 else {}
    return {**known, "gpu": here.get("name"), "sm": here.get("sm"), "sms": here.get("sms")}


def confirm(name: str, spec: TargetSpec, facts: Mapping[str, Any]) -> Board | None:
    """Return the confirmed board of target ``name``.

    A Jetson is confirmed by its module, any other board by the name of the GPU that the runtime uses. Return ``None``
    if the config declares no board, or a board other than a Jetson for a runtime that uses no GPU. Raise ``LabError``
    if board or serial number cannot be read or is not the declared one. For a runtime that uses a GPU, raise
    ``TargetUnreachable`` if the runtime cannot be imported or has no GPU with the declared number.
    """
    identity, module = identify(facts.get("board")), module_of(spec.board or "")
    if spec.serial is not None:
        _check_serial(name, spec.serial, facts, identity)
    if module is not None:
        _check_module(name, module, identity)
    if not runtime_record(spec.runtime).uses_gpu:
        return None if spec.board is None or module is None else Board(spec.board, None, None, module.slug)
    known = runtime_facts(facts, spec.runtime, spec.gpu)
    reason = _why_not(spec, facts, known)
    if reason:
        way_out = f"install or repair it there, or name a python that has {spec.runtime} in [targets.{name}]"
        raise TargetUnreachable(f"{spec.runtime} cannot be used: {reason}: on target {name!r}: {way_out}")
    if spec.board is None:
        return None
    gpu, sm = str(known["gpu"]), known.get("sm")
    if module is None and not is_gpu(spec.board, gpu):
        raise LabError(
            f"the GPU there is {gpu}, not {spec.board}: {_correction(name, _name_to_declare(gpu, sm, identity))}"
        )
    if not isinstance(sm, str) or not sm:
        what = f"the probe read no SM of {gpu}, so board {spec.board} is not confirmed"
        raise LabError(f"{what}: on target {name!r}: run again")
    if module is None and sm in SMS:
        what = f"{gpu} is the GPU of several Jetson modules, so board {spec.board} is ambiguous"
        raise LabError(f"{what}: {_correction(name, _name_to_declare(gpu, sm, identity))}")
    if module is not None and sm != module.sm:
        what = f"GPU {spec.gpu} there is {gpu} with SM {sm}, but the GPU of {module.name} has SM {module.sm}"
        raise LabError(f"{what}: {_correction(name, None)}")
    return Board(spec.board, gpu, sm, None if module is None else module.slug)


def _correction(name: str, called: str | None) -> str:
    """Return the end of a message about a board that is not the declared one: target and advice.

    ``called`` is the name of the present board; ``None`` if it is unknown.
    """
    hint = f" (this one is called {called!r})" if called else ""
    return f"on target {name!r}: correct board in [targets.{name}]{hint} or use the intended machine"


def _name_to_declare(gpu: str, sm: object, identity: Identity) -> str | None:
    """Return the name by which ``hil.toml`` declares this board: its Jetson module or its GPU.

    Return ``None`` if the board cannot be identified.
    """
    if identity.module is not None:
        return identity.module.slug
    return None if identity.is_jetson or sm in SMS else slug(gpu).removeprefix(VENDOR)


def _check_module(name: str, declared: Module, identity: Identity) -> None:
    if identity.module is None:
        what = (
            f"board {declared.slug} is not confirmed, because the board there could not be identified: {identity.why}"
        )
        read = (
            f"'hil probe {name} --json' shows what was read; correct board in [targets.{name}] or use another machine"
        )
        raise LabError(f"{what}: on target {name!r}: {read}")
    if identity.module.slug != declared.slug:
        what = f"the board there is {identity.module.slug} (part {identity.part}), not {declared.slug}"
        raise LabError(f"{what}: {_correction(name, identity.module.slug)}")


def _check_serial(name: str, declared: str, facts: Mapping[str, Any], identity: Identity) -> None:
    if identity.serial is None:
        raw = facts.get("board")
        reasons = raw.get("not_readable") if isinstance(raw, dict) else None
        why = reasons.get("serial") if isinstance(reasons, dict) else None
        what = f"serial {declared} is not confirmed, because it could not be read there ({why or 'none reported'})"
        raise LabError(f"{what}: on target {name!r}: remove serial from [targets.{name}], or use a board that has one")
    if identity.serial != declared:
        what = f"the board there has serial {identity.serial}, not {declared}"
        raise LabError(f"{what}: on target {name!r}: correct serial in [targets.{name}] or use the intended board")


def _why_not(spec: TargetSpec, facts: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    """Return why the runtime cannot be used on the target, or an empty text if it can.

    A runtime whose version is unknown cannot be used.
    """
    reasons = facts.get("why_not")
    reason = (reasons.get(spec.runtime) if isinstance(reasons, dict) else None) or known.get("reason")
    versions = facts.get("runtimes")
    version = versions.get(spec.runtime) if isinstance(versions, dict) else None
    if reason or not version:
        return str(reason or f"import {spec.runtime} fails there")
    return "" if known.get("gpu") else f"{spec.runtime} {version} has no GPU with number {spec.gpu}"
