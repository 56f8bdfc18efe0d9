"""Is this the machine that ``hil.toml`` declares? What was read, against ``runtime``, ``board`` and ``serial``."""

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
"""Kinds of processors that are a device's own; work on any other is the host's."""


@dataclass(frozen=True)
class Board:
    """A board that was confirmed: as declared, and the GPU that the probe found, by name and SM (``8.7``).

    ``module`` is a Jetson's. Its GPU is ``None`` under a runtime that uses none: then no work is the board's own.
    """

    declared: str
    gpu: str | None
    sm: str | None
    module: str | None = None

    def did(self, work: ExecutedOn | None) -> bool:
        """Whether ``work`` ran on this very GPU, or on a DLA beside it."""
        if work is None or self.gpu is None or self.sm is None:
            return False
        return work.kind in DEVICES and (work.name, work.sm) == (self.gpu, self.sm)


def slug(text: str) -> str:
    """``nvidia-geforce-rtx-4090`` of ``NVIDIA GeForce RTX 4090``."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def is_gpu(board: str, gpu: str) -> bool:
    """Whether ``board`` names the GPU, the vendor's name before it or not; never a part of the name."""
    wanted, found = slug(board).removeprefix(VENDOR), slug(gpu).removeprefix(VENDOR)
    return bool(wanted) and wanted == found


def runtime_facts(facts: Mapping[str, Any], runtime: str, number: int = 0) -> dict[str, Any]:
    """What the probe read through ``runtime`` of GPU ``number`` (``gpu``, ``sm``, ``cuda``, …); empty if nothing.

    A runtime tells of the first GPU; of another one the driver's own list tells, and one that is not in it has
    neither name nor SM.
    """
    found = facts.get("facts")
    known = found.get(runtime) if isinstance(found, dict) else None
    if not isinstance(known, dict) or not number or not known.get("gpu"):
        return dict(known) if isinstance(known, dict) else {}
    listed = [one for one in facts.get("gpus") or [] if isinstance(one, dict) and one.get("number") == number]
    here = listed[0] if len(listed) == 1 else {}
    return {**known, "gpu": here.get("name"), "sm": here.get("sm"), "sms": here.get("sms")}


def confirm(name: str, spec: TargetSpec, facts: Mapping[str, Any]) -> Board | None:
    """The board that ``spec`` declares, or ``None`` where it declares none.

    A Jetson's is its module, by part number and memory; any other's its GPU. Raises ``LabError`` where another board
    or serial number was found, or none that could be told, which no fallback may answer, and ``TargetUnreachable``
    where TensorRT or its GPU is not there, which one may.
    """
    found, module = identify(facts.get("board")), module_of(spec.board or "")
    if spec.serial is not None:
        _check_serial(name, spec.serial, facts, found)
    if module is not None:
        _check_module(name, module, found)
    if not runtime_record(spec.runtime).uses_gpu:
        return None if spec.board is None or module is None else Board(spec.board, None, None, module.slug)
    known = runtime_facts(facts, spec.runtime, spec.gpu)
    reason = _why_not(spec, facts, known)
    if reason:
        way_out = f"see to it there, or name a python that has {spec.runtime} in [targets.{name}]"
        raise TargetUnreachable(f"{spec.runtime} cannot be used: {reason}: on target {name!r}: {way_out}")
    if spec.board is None:
        return None
    gpu, sm = str(known["gpu"]), known.get("sm")
    if module is None and not is_gpu(spec.board, gpu):
        raise LabError(f"the GPU there is {gpu}, not {spec.board}: {_correct(name, _called(gpu, sm, found))}")
    if not isinstance(sm, str) or not sm:
        what = f"the probe read no SM of {gpu}, so board {spec.board} is not confirmed"
        raise LabError(f"{what}: on target {name!r}: run again")
    if module is None and sm in SMS:
        what = f"{gpu} is the GPU of several Jetson modules, so board {spec.board} says too little"
        raise LabError(f"{what}: {_correct(name, _called(gpu, sm, found))}")
    if module is not None and sm != module.sm:
        what = f"GPU {spec.gpu} there is {gpu} with SM {sm}, and that of {module.name} has SM {module.sm}"
        raise LabError(f"{what}: {_correct(name, None)}")
    return Board(spec.board, gpu, sm, None if module is None else module.slug)


def _correct(name: str, called: str | None) -> str:
    """What to do about a board that is not the declared one; ``called`` is what the one there is to be called."""
    hint = f" (this one is called {called!r})" if called else ""
    return f"on target {name!r}: correct board in [targets.{name}]{hint} or ask for the machine that was meant"


def _called(gpu: str, sm: object, found: Identity) -> str | None:
    """A module by its slug, which is not known of every Jetson; any other board by its GPU."""
    if found.module is not None:
        return found.module.slug
    return None if found.is_jetson or sm in SMS else slug(gpu).removeprefix(VENDOR)


def _check_module(name: str, declared: Module, found: Identity) -> None:
    if found.module is None:
        what = f"board {declared.slug} is not confirmed, as what is there could not be told: {found.why}"
        read = f"'hil probe {name} --json' shows what was read; correct board in [targets.{name}] or that machine"
        raise LabError(f"{what}: on target {name!r}: {read}")
    if found.module.slug != declared.slug:
        what = f"the board there is {found.module.slug} (part {found.part}), not {declared.slug}"
        raise LabError(f"{what}: {_correct(name, found.module.slug)}")


def _check_serial(name: str, declared: str, facts: Mapping[str, Any], found: Identity) -> None:
    if found.serial is None:
        raw = facts.get("board")
        reasons = raw.get("not_readable") if isinstance(raw, dict) else None
        why = reasons.get("serial") if isinstance(reasons, dict) else None
        what = f"serial {declared} is not confirmed, as none could be read there ({why or 'the agent told none'})"
        raise LabError(f"{what}: on target {name!r}: take serial out of [targets.{name}], or name a board that has one")
    if found.serial != declared:
        what = f"the board there has serial {found.serial}, not {declared}"
        raise LabError(
            f"{what}: on target {name!r}: correct serial in [targets.{name}] or ask for the one that was meant"
        )


def _why_not(spec: TargetSpec, facts: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """Why the runtime cannot be used there; empty where it can. What is not known speaks against it."""
    told = facts.get("why_not")
    reason = (told.get(spec.runtime) if isinstance(told, dict) else None) or found.get("reason")
    versions = facts.get("runtimes")
    version = versions.get(spec.runtime) if isinstance(versions, dict) else None
    if reason or not version:
        return str(reason or f"import {spec.runtime} fails there")
    return "" if found.get("gpu") else f"{spec.runtime} {version} is there, but no GPU with number {spec.gpu}"
