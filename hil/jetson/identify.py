"""Identify a machine's module and JetPack from the raw facts that ``hil.agent.jetson.board_facts`` reads.

Contradictory facts identify nothing, unless one of them takes precedence. A fact of an unexpected type counts as not
read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from hil.jetson.jetpack_releases import Release, release_named, release_of
from hil.jetson.modules import GIB, MODULES, Module
from hil.jetson.raw_facts import Raw, text_of

THOR = "tegra264"
_RELEASE = re.compile(r"^# R([0-9]{1,4}) \(release\), REVISION: ([0-9]{1,4}(?:\.[0-9]{1,4})?)(?![0-9.])", re.MULTILINE)
_CORE = re.compile(r"([0-9]{1,4}(?:\.[0-9]{1,4}){1,2})(?:-|$)")
_JETPACK = re.compile(r"([0-9]{1,4}(?:\.[0-9]{1,4}){1,3})(?:[+-]|$)")


@dataclass(frozen=True)
class Identity:
    """The identity of a machine; an unknown field is ``None``.

    Attributes:
        module: the Jetson module.
        release: the JetPack release.
        l4t: the version of Jetson Linux.
        serial: the serial number.
        why: the reason why the module is unknown; empty if it is known.
        jetpack: the JetPack version. The package nvidia-jetpack may name one although ``release`` is ``None``.
        soc: the chip (``tegra234``).
        part: the module's part number.
        power_mode: the name of the power mode.
        is_super: whether Orin NX or Orin Nano is in its "super" configuration.
        doubts: other contradictions, and an L4T that is not in the table of releases.
    """

    module: Module | None
    release: Release | None
    l4t: str | None
    serial: str | None
    why: str
    jetpack: str | None = None
    soc: str | None = None
    part: str | None = None
    power_mode: str | None = None
    is_super: bool | None = None
    doubts: tuple[str, ...] = ()

    @property
    def is_jetson(self) -> bool:
        """Whether the machine is a Jetson, even if its module is unknown."""
        return self.soc is not None or self.l4t is not None


def identify(raw: Any) -> Identity:
    """Return the identity that a board's raw facts show. Never raises; anything but a mapping counts as no facts."""
    facts = Raw(raw)
    doubts: list[str] = []
    part, why = _part(facts, doubts)
    module, why = (None, why) if why or part is None else _by_memory(facts, part)
    l4t = _l4t(facts, doubts)
    release, jetpack = _release(facts, l4t, doubts)
    if module is not None and release is not None and module.soc not in release.socs:
        doubts.append(f"according to the table, JetPack {release.jetpack} does not support {module.name}")
    return Identity(
        module=module,
        release=release,
        l4t=l4t,
        serial=facts.text("serial"),
        why=why,
        jetpack=jetpack,
        soc=facts.soc,
        part=part,
        power_mode=facts.text("power_mode"),
        is_super=facts.is_super,
        doubts=tuple(doubts),
    )


def _part(facts: Raw, doubts: list[str]) -> tuple[str | None, str]:
    """Return the part number that identifies the module, and an empty text.

    If no part number identifies the module, the text is the reason; the part number is then ``None``, or one that
    another fact contradicts.
    """
    soc, tree, spec = facts.soc, facts.tree_parts, facts.spec_parts
    why = ""
    if soc is None:
        reason = text_of(facts.table("not_readable"), "compatible") or "its device tree does not name one Tegra chip"
        return None, f"it is not known to be a Jetson: {reason}"
    if len(tree) > 1:
        return None, f"its device tree names several modules: {', '.join(tree)}"
    # Thor modules may share a device tree, so the part number that flashing read from the module takes precedence.
    decides = spec or tree if soc == THOR else tree or spec
    if not decides:
        return None, f"its device tree names no module's part number ({', '.join(facts.compatible)})"
    if tree and spec and tree != spec:
        contradiction = f"its device tree has {tree[0]}, but /etc/nv_boot_control.conf has {spec[0]}"
        if soc == THOR:
            doubts.append(contradiction)
        elif not _modules(tree[0], spec[0]):
            why = contradiction
    return decides[0], why


def _modules(*parts: str) -> list[Module]:
    """Return the modules to which all of these part numbers apply."""
    return [module for module in MODULES if all(part in module.parts for part in parts)]


def _by_memory(facts: Raw, part: str) -> tuple[Module | None, str]:
    """Return the only module with this part number and the machine's memory and chip, and an empty text.

    An unknown memory fits every module. If no module or more than one fits, return ``None`` and the reason.
    """
    other = [] if facts.soc == THOR else facts.spec_parts
    candidates = _modules(part, *other)
    if not candidates:
        return None, f"part {part} is not in the table of modules"
    if candidates[0].soc != facts.soc:
        return None, f"part {part} has a {candidates[0].soc}, but the device tree has {facts.soc}"
    total = facts.memory
    names = " or ".join(module.slug for module in candidates)
    if total is None:
        if len(candidates) == 1:
            return candidates[0], ""
        return None, f"part {part} is {names}, but the machine's memory could not be read"
    fitting = [module for module in candidates if module.fits(total)]
    if len(fitting) == 1:
        return fitting[0], ""
    return None, f"part {part} is {names}, but the machine has {total / GIB:.1f} GiB of memory"


def _l4t(facts: Raw, doubts: list[str]) -> str | None:
    """Return the L4T version of the release file, else of the package nvidia-l4t-core; ``None`` if unknown.

    Return ``None`` also if both have a version and these differ.
    """
    line = _RELEASE.search(facts.text("nv_tegra_release") or "")
    core = _CORE.match(facts.package("nvidia-l4t-core"))
    by_file = _three(f"{line.group(1)}.{line.group(2)}") if line else None
    by_package = _three(core.group(1)) if core else None
    if by_file and by_package and by_file != by_package:
        doubts.append(f"/etc/nv_tegra_release has L4T {by_file}, but the package nvidia-l4t-core has {by_package}")
        return None
    return by_file or by_package


def _three(version: str) -> str:
    numbers = [str(int(number)) for number in version.split(".")]
    return ".".join((*numbers, "0", "0")[:3])


def _release(facts: Raw, l4t: str | None, doubts: list[str]) -> tuple[Release | None, str | None]:
    """Return the JetPack release and its version; each is ``None`` if unknown.

    The release is that of the version ``l4t``, else that of the installed package nvidia-jetpack. The version may be
    known without the release.
    """
    package = _JETPACK.match(facts.package("nvidia-jetpack"))
    named = package.group(1) if package else None
    release = release_of(l4t) if l4t else None
    if release is not None:
        if named is not None and release.jetpack.split()[0] != named:
            doubts.append(f"L4T {l4t} is JetPack {release.jetpack}, but the package nvidia-jetpack is {named}")
        return release, release.jetpack
    if l4t is not None:
        doubts.append(f"L4T {l4t} is not in the table of releases")
    return release_named(named) if named else None, named
