"""List the Jetson modules: their names in ``board = "…"``, and the facts that identify each of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher

from hil.errors import nearest

GIB = 2**30
LEAST_SHARE = 0.7
"""Least share of the nominal memory that Linux may report, since firmware reserves some. An assumption."""
LIKE = 0.85
"""Least difflib ratio at which a name counts as a misspelt module: ``orin-nx-16g`` has 0.96, GPU cards far less."""

STATS = "rbonghi/jetson_stats@f41d5cad jetson_variables.py (part, sm)"
META = "OE4T/meta-tegra (sm, SoC)"
SKILLS = "NVIDIA/skills@7149a88 detect_jetson.sh (memory)"
CONFS = "nvpmodel_*.conf in LineageOS/android_device_nvidia_"

XAVIER_NX_PARTS = "p3668-0000 p3668-0001 p3668-0003"
AGX_XAVIER_PARTS = "p2888-0001 p2888-0003 p2888-0004 p2888-0005"
"""One device tree serves modules of several sizes: the part number identifies the family, the memory the size."""
XAVIER_NX_MODES = (
    "MODE_15W_2CORE MODE_15W_4CORE MODE_15W_6CORE MODE_10W_2CORE MODE_10W_4CORE MODE_10W_DESKTOP "
    "MODE_20W_2CORE MODE_20W_4CORE MODE_20W_6CORE"
)
AGX_XAVIER_MODES = "MAXN MODE_10W MODE_15W MODE_30W_ALL MODE_30W_6CORE MODE_30W_4CORE MODE_30W_2CORE MODE_15W_DESKTOP"


@dataclass(frozen=True)
class Module:
    """One module as sold. A JetPack release may support fewer DLA cores and power modes.

    Attributes:
        slug: its name in ``hil.toml``.
        name: its name as sold.
        parts: its part numbers in the device tree.
        memory: the nominal size in bytes.
        soc: the chip.
        sm: the compute capability as CUDA reports it.
        dla: the number of DLA cores; ``None`` if unknown.
        source: where the row comes from.
        power_modes: the names of nvpmodel's modes in the order of their numbers; empty if unknown.
        super_modes: the names of the modes in the "super" configuration, in the same order; empty if unknown.
    """

    slug: str
    name: str
    parts: tuple[str, ...]
    memory: int
    soc: str
    sm: str
    dla: int | None
    source: str
    power_modes: tuple[str, ...] = ()
    super_modes: tuple[str, ...] = ()

    def fits(self, total: int) -> bool:
        """Return whether a machine with ``total`` bytes of memory may be this module."""
        return self.memory * LEAST_SHARE <= total <= self.memory

    @property
    def boards(self) -> frozenset[str]:
        """The board numbers of its parts (``3767``), which identify the family of modules."""
        return frozenset(part[1:5] for part in self.parts)


Chip = tuple[str, str, "int | None"]


def _module(  # noqa: PLR0913, PLR0917 - a row of the table, one column each
    slug: str,
    name: str,
    parts: str,
    gib: int,
    chip: Chip,
    modes: str = "",
    super_modes: str = "",
    modes_from: str = "",
) -> Module:
    source = "; ".join((STATS, META, SKILLS, *((modes_from,) if modes_from else ())))
    named = tuple(modes.split()), tuple(super_modes.split())
    return Module(slug, f"Jetson {name}", tuple(parts.split()), gib * GIB, *chip, source, *named)


NANO, TX2 = ("tegra210", "5.3", 0), ("tegra186", "6.2", 0)
XAVIER, ORIN, ORIN_NANO = ("tegra194", "7.2", 2), ("tegra234", "8.7", 2), ("tegra234", "8.7", 0)
ORIN_NX_8 = ("tegra234", "8.7", None)  # its nvpmodel configuration lists two DLA cores, but its datasheet was not found
THOR = ("tegra264", "11.0", 0)
QUILL, GALEN, CONCORD = CONFS + "quill", CONFS + "galen", CONFS + "concord"
GUIDE = "L4T R38.4 developer guide, an extract of it (modes)"

MODULES = (
    _module("nano-2gb", "Nano 2GB", "p3448-0003", 2, NANO),
    _module("nano-4gb", "Nano", "p3448-0000 p3448-0002", 4, NANO),
    _module("tx2-8gb", "TX2", "p3310-1000", 8, TX2, "MAXN MAXQ MAXP_CORE_ALL MAXP_CORE_ARM", "", QUILL),
    _module("xavier-nx-8gb", "Xavier NX 8GB", XAVIER_NX_PARTS, 8, XAVIER, XAVIER_NX_MODES, "", GALEN),
    _module("xavier-nx-16gb", "Xavier NX 16GB", XAVIER_NX_PARTS, 16, XAVIER, XAVIER_NX_MODES, "", GALEN),
    _module("agx-xavier-16gb", "AGX Xavier 16GB", AGX_XAVIER_PARTS, 16, XAVIER, AGX_XAVIER_MODES, "", GALEN),
    _module("agx-xavier-32gb", "AGX Xavier 32GB", AGX_XAVIER_PARTS, 32, XAVIER, AGX_XAVIER_MODES, "", GALEN),
    _module("agx-xavier-64gb", "AGX Xavier 64GB", AGX_XAVIER_PARTS, 64, XAVIER, AGX_XAVIER_MODES, "", GALEN),
    _module("orin-nano-4gb", "Orin Nano 4GB", "p3767-0004", 4, ORIN_NANO,
            "10W 7W_AI 7W_CPU", "10W 25W MAXN_SUPER", CONCORD),
    _module("orin-nano-8gb", "Orin Nano 8GB", "p3767-0003 p3767-0005", 8, ORIN_NANO,
            "15W 7W", "15W 25W MAXN_SUPER", CONCORD),
    _module("orin-nx-8gb", "Orin NX 8GB", "p3767-0001", 8, ORIN_NX_8,
            "MAXN 10W 15W 20W", "MAXN_SUPER 10W 15W 20W 40W", CONCORD),
    _module("orin-nx-16gb", "Orin NX 16GB", "p3767-0000", 16, ORIN,
            "MAXN 10W 15W 25W", "MAXN_SUPER 10W 15W 25W 40W", CONCORD),
    _module("agx-orin-32gb", "AGX Orin 32GB", "p3701-0000 p3701-0004", 32, ORIN,
            "MAXN MODE_15W MODE_30W MODE_40W", "", CONCORD),
    _module("agx-orin-64gb", "AGX Orin 64GB", "p3701-0000 p3701-0005", 64, ORIN,
            "MAXN MODE_15W MODE_30W MODE_50W", "", CONCORD),
    _module("agx-orin-industrial-64gb", "AGX Orin Industrial", "p3701-0008", 64, ORIN),
    _module("thor-t4000", "Thor T4000", "p3834-0000", 64, THOR, "MAXN 70W", "", GUIDE),
    _module("thor-t5000", "Thor T5000", "p3834-0008", 128, THOR, "MAXN 120W 90W 70W", "", GUIDE),
)  # fmt: skip
"""By generation and size. The AGX Orin of development kits (p3701-0000) exists in both sizes; memory decides."""

SMS = frozenset(module.sm for module in MODULES)
"""SMs that only NVIDIA's SoCs have. Such a GPU is identified by its module, because its name is ambiguous."""


def slug_of(board: str) -> str:
    """Return the slug of a board's name: ``orin-nx-16gb`` for ``NVIDIA Jetson Orin NX 16GB``."""
    plain = re.sub(r"[^a-z0-9]+", "-", board.lower()).strip("-")
    return plain.removeprefix("nvidia-").removeprefix("jetson-")


def module_of(board: str) -> Module | None:
    """Return the module that a config's ``board`` names, with or without "NVIDIA Jetson"; ``None`` if unknown."""
    slug = slug_of(board)
    return next((module for module in MODULES if module.slug == slug), None)


def likely_slugs(board: str) -> tuple[str, ...]:
    """Return the modules' slugs that a misspelt or shortened name ``board`` probably means.

    Empty for the exact name of a module and for the name of a GPU card.
    """
    name, slugs = slug_of(board), [module.slug for module in MODULES]
    if not name or name in slugs:
        return ()
    extended = tuple(slug for slug in slugs if slug.startswith(f"{name}-"))
    near = nearest(name, slugs)
    if extended or near is None or SequenceMatcher(None, name, near).ratio() < LIKE:
        return extended
    return (near,)
