"""What is recorded of a Jetson: what it was found to be, and the versions its libraries told."""

from __future__ import annotations

from typing import Any

from hil.jetson.identify import identify
from hil.jetson.raw_facts import Raw, text_of


def versions(raw: Any) -> dict[str, str | None]:
    """``cuda``, ``tensorrt`` and ``cudnn`` as the toolkit and the libraries themselves told; ``None`` if not."""
    facts = Raw(raw)
    libraries = facts.table("libraries")
    told = {"tensorrt": text_of(libraries, "nvinfer"), "cudnn": text_of(libraries, "cudnn")}
    return {"cuda": text_of(facts.table("cuda"), "toolkit"), **told}


def said(raw: Any) -> dict[str, Any] | None:
    """What is recorded beside the raw facts; ``None`` where the machine is not known to be a Jetson."""
    found = identify(raw)
    if not found.is_jetson:
        return None
    return {
        "module": None if found.module is None else found.module.slug,
        "part": found.part,
        "soc": found.soc,
        "serial": found.serial,
        "l4t": found.l4t,
        "jetpack": found.jetpack,
        **versions(raw),
        "power_mode": found.power_mode,
        "super": found.is_super,
        "not_known": [*([found.why] if found.why else []), *found.doubts],
    }
