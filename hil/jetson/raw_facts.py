"""Access a board's raw facts by type. A fact of an unexpected type or form counts as not read."""

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
    """Return the text under ``key``, stripped; ``None`` if it is empty or not a string."""
    value = table.get(key)
    return value.strip() or None if isinstance(value, str) else None


class Raw:
    """The facts of ``hil.agent.jetson.board_facts``, read by type: a fact of another type counts as not read."""

    def __init__(self, raw: Any) -> None:
        """Wrap ``raw``. If it is not a mapping, there are no facts."""
        self.facts: Mapping[str, Any] = raw if isinstance(raw, Mapping) else {}

    def text(self, key: str) -> str | None:
        """Return the text under ``key``; ``None`` if it is empty or not a string."""
        return text_of(self.facts, key)

    def table(self, key: str) -> Mapping[str, Any]:
        """Return the table under ``key``; empty if it is missing or not a mapping."""
        value = self.facts.get(key)
        return value if isinstance(value, Mapping) else {}

    def package(self, name: str) -> str:
        """Return the version of an installed package; empty if unknown."""
        return text_of(self.table("packages"), name) or ""

    @property
    def memory(self) -> int | None:
        """The machine's total memory in bytes; ``None`` if it was not read."""
        total = self.facts.get("memory_total")
        return total if type(total) is int and total > 0 else None

    @property
    def compatible(self) -> list[str]:
        """The entries of ``compatible`` in the device tree; empty if they were not read."""
        entries = self.facts.get("compatible")
        return [text for text in entries if isinstance(text, str)] if isinstance(entries, (list, tuple)) else []

    @property
    def soc(self) -> str | None:
        """The chip, e.g. ``tegra234``; ``None`` unless the device tree names exactly one chip."""
        chips = {match.group(1) for text in self.compatible if (match := _SOC.fullmatch(text))}
        return chips.pop() if len(chips) == 1 else None

    @property
    def tree_parts(self) -> list[str]:
        """The modules' part numbers in the device tree, without those of carrier boards."""
        matches = [match for text in self.compatible for match in _PART.finditer(text)]
        return sorted({f"p{match.group(1)}-{match.group(2)}" for match in matches if match.group(1) in FAMILIES})

    @property
    def specs(self) -> list[str]:
        """The specs (TNSPEC, COMPATIBLE_SPEC) in /etc/nv_boot_control.conf, which name the board of this system."""
        return [spec for key in SPECS if (spec := text_of(self.table("boot_control"), key))]

    @property
    def spec_parts(self) -> list[str]:
        """A list with the module's part number in ``specs``, such as ``p3767-0005``; empty if they have none.

        TNSPEC takes precedence over COMPATIBLE_SPEC.
        """
        matches = [match for match in map(_SPEC.match, self.specs) if match and match.group(1) in FAMILIES]
        return [f"p{match.group(1)}-{match.group(2)}" for match in matches][:1]

    @property
    def is_super(self) -> bool | None:
        """Whether this system is for the "super" configuration of the module; ``None`` if unknown."""
        names = [*self.specs, *(text for text in self.compatible if _PART.search(text))]
        return any(_SUPER.search(text) for text in names) if names else None
