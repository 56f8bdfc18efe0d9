"""The generations of boards: one module of facts for each, named after its JetPack release."""

from __future__ import annotations

import importlib
from typing import Any

GENERATIONS = ("jp46", "jp51", "jp62", "jp70", "jp72")


def facts_of(generation: str) -> dict[str, Any]:
    """Return the facts of a board of this generation."""
    facts: dict[str, Any] = importlib.import_module(f"{__name__}.{generation}").FACTS
    return {**facts, "generation": generation}
