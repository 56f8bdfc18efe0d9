"""Is this the machine that ``hil.toml`` declares? What the probe read, against ``runtime`` and ``board``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hil.errors import LabError, TargetUnreachable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hil.config.spec import TargetSpec
    from hil.model import ExecutedOn

VENDOR = "nvidia-"
DEVICES = ("gpu", "dla")
"""Kinds of processors that are a device's own; work on any other is the host's."""


@dataclass(frozen=True)
class Board:
    """A board that was confirmed: as declared, and the GPU that the probe found, by name and SM (``8.7``)."""

    declared: str
    gpu: str
    sm: str

    def did(self, work: ExecutedOn | None) -> bool:
        """Whether ``work`` ran on this very GPU, or on a DLA beside it."""
        return work is not None and work.kind in DEVICES and (work.name, work.sm) == (self.gpu, self.sm)


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

    Raises ``TargetUnreachable`` where TensorRT or its GPU is not there, which a fallback may answer, and
    ``LabError`` where another GPU answered, which none may.
    """
    if spec.runtime != "tensorrt":
        return None
    found = runtime_facts(facts, spec.runtime, spec.gpu)
    reason = _why_not(spec, facts, found)
    if reason:
        way_out = f"see to it there, or name a python that has {spec.runtime} in [targets.{name}]"
        raise TargetUnreachable(f"{spec.runtime} cannot be used: {reason}: on target {name!r}: {way_out}")
    if spec.board is None:
        return None
    gpu, sm = str(found["gpu"]), found.get("sm")
    if not is_gpu(spec.board, gpu):
        raise LabError(
            f"the GPU there is {gpu}, not {spec.board}: on target {name!r}: correct board in [targets.{name}] "
            f"(this one is called {slug(gpu).removeprefix(VENDOR)!r}) or ask for the machine that was meant"
        )
    if not isinstance(sm, str) or not sm:
        what = f"the probe read no SM of {gpu}, so board {spec.board} is not confirmed"
        raise LabError(f"{what}: on target {name!r}: run again")
    return Board(spec.board, gpu, sm)


def _why_not(spec: TargetSpec, facts: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """Why the runtime cannot be used there; empty where it can. What is not known speaks against it."""
    told = facts.get("why_not")
    reason = (told.get(spec.runtime) if isinstance(told, dict) else None) or found.get("reason")
    versions = facts.get("runtimes")
    version = versions.get(spec.runtime) if isinstance(versions, dict) else None
    if reason or not version:
        return str(reason or f"import {spec.runtime} fails there")
    return "" if found.get("gpu") else f"{spec.runtime} {version} is there, but no GPU with number {spec.gpu}"
