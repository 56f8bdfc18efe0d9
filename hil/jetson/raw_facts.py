"""Single facts out of the raw ones of a board; one of another type or form than expected was not read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hil.jetson.modules import MODULES

FAMILIES = frozenset(number for module in MODULES for number in module.boards)
SPECS = ("TNSPEC", "COMPATIBLE_SPEC")
_SOC = re.compile(r"nvidia,(tegra[0-9]{3})")
_PART = re.compile(r"(?<![0-9A-Za-z])p([0-9]{4})-([0-9]{4})(?![0-9])")
_SPEC = re.compile(r"([0-9]{4})-(?:[0-9A-Za-z]{0,3}-)?([0-9]{4})(?:-|$)")
_SUPER = re.compile(r"-super(?:-|$)")


def text_of(table: Mapping[str, Any], key: str) -> str | None:
    """A text that is not empty; else ``None``."""
    value = table.get(key)
    return value.strip() or None if isinstance(value, str) else None


class Raw:
    """The facts that ``hil.agent.jetson.board_facts`` read, or whatever else was sent in their place."""

    def __init__(self, raw: Any) -> None:
        """``raw`` that is no mapping tells nothing."""
        self.facts: Mapping[str, Any] = raw if isinstance(raw, Mapping) else {}

    def text(self, key: str) -> str | None:
        """A text that is not empty; else ``None``."""
        return text_of(self.facts, key)

    def table(self, key: str) -> Mapping[str, Any]:
        """A table, empty if there is none."""
        value = self.facts.get(key)
        return value if isinstance(value, Mapping) else {}

    def package(self, name: str) -> str:
        """The version of an installed package; empty if it is not known to be there."""
        return text_of(self.table("packages"), name) or ""

    @property
    def memory(self) -> int | None:
        """All of the machine's, in bytes."""
        total = self.facts.get("memory_total")
        return total if type(total) is int and total > 0 else None

    @property
    def compatible(self) -> list[str]:
        """The device tree's list."""
        told = self.facts.get("compatible")
        return [text for text in told if isinstance(text, str)] if isinstance(told, (list, tuple)) else []

    @property
    def soc(self) -> str | None:
        """``tegra234``; ``None`` also where the device tree names several."""
        found = {match.group(1) for text in self.compatible if (match := _SOC.fullmatch(text))}
        return found.pop() if len(found) == 1 else None

    @property
    def tree_parts(self) -> list[str]:
        """Modules' part numbers in the device tree; those of carrier boards are of no family of modules."""
        found = [match for text in self.compatible for match in _PART.finditer(text)]
        return sorted({f"p{one.group(1)}-{one.group(2)}" for one in found if one.group(1) in FAMILIES})

    @property
    def specs(self) -> list[str]:
        """The lines of /etc/nv_boot_control.conf that say for which board the system was made."""
        return [told for key in SPECS if (told := text_of(self.table("boot_control"), key))]

    @property
    def spec_parts(self) -> list[str]:
        """The module's part number there, none or one: flashing reads it from the module's own EEPROM.

        Written as board, the board's revision (three signs, or none) and SKU, ``3767-301-0005-M.1-1-1-…``, on Thor
        also the SKU first.
        COMPATIBLE_SPEC may name what the module stands in for, so that TNSPEC comes first.
        """
        found = [one for one in map(_SPEC.match, self.specs) if one and one.group(1) in FAMILIES]
        return [f"p{one.group(1)}-{one.group(2)}" for one in found][:1]

    @property
    def is_super(self) -> bool | None:
        """Whether the system was made for the "super" configuration; ``None`` where nothing tells."""
        told = [*self.specs, *(text for text in self.compatible if _PART.search(text))]
        return any(_SUPER.search(text) for text in told) if told else None
