"""The generations of boards: a module of facts each, named after its JetPack."""

from __future__ import annotations

import importlib
from typing import Any

GENERATIONS = ("jp46", "jp51", "jp62", "jp70", "jp72")


def facts_of(generation: str) -> dict[str, Any]:
    """What a board of that generation tells about itself."""
    found: dict[str, Any] = importlib.import_module(f"{__name__}.{generation}").FACTS
    return {**found, "generation": generation}
