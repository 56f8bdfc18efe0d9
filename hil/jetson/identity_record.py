"""Make the fields that reports record for a Jetson: its identity, and its libraries' versions."""

from __future__ import annotations

from typing import Any

from hil.jetson.identify import identify
from hil.jetson.raw_facts import Raw, text_of


def versions(raw: Any) -> dict[str, str | None]:
    """Return the versions ``cuda``, ``tensorrt`` and ``cudnn`` as the installed software reports them.

    A version that is not known is ``None``.
    """
    facts = Raw(raw)
    libraries = facts.table("libraries")
    versions = {"tensorrt": text_of(libraries, "nvinfer"), "cudnn": text_of(libraries, "cudnn")}
    return {"cuda": text_of(facts.table("cuda"), "toolkit"), **versions}


def identity_fields(raw: Any) -> dict[str, Any] | None:
    """Return the identity that is recorded next to the raw facts; ``None`` if the machine is not known as a Jetson."""
    identity = identify(raw)
    if not identity.is_jetson:
        return None
    return {
        "module": None if identity.module is None else identity.module.slug,
        "part": identity.part,
        "soc": identity.soc,
        "serial": identity.serial,
        "l4t": identity.l4t,
        "jetpack": identity.jetpack,
        **versions(raw),
        "power_mode": identity.power_mode,
        "super": identity.is_super,
        "not_known": [*([identity.why] if identity.why else []), *identity.doubts],
    }
