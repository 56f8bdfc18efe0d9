"""Judge each model by limits of the slices' error that were chosen from the other models' rows of a result."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PRECISIONS = ("fp16", "int8")
"""The precisions at which both sound and broken engines are judged."""


def band(errors: Sequence[tuple[float, bool]]) -> tuple[float, float]:
    """Return the largest error that passes, and the error above which an engine fails.

    ``errors`` has pairs of an engine's error and whether it is sound. By these limits no broken engine passes and no
    sound one fails. If every sound engine's error is below every broken one's, both limits are equal.
    """
    sound = max((error for error, is_sound in errors if is_sound), default=0.0)
    broken = min((error for error, is_sound in errors if not is_sound), default=math.inf)
    if sound < broken:
        middle = math.sqrt(sound * broken) if broken < math.inf else sound
        return middle, middle
    return math.nextafter(broken, 0), sound


def left_out(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Judge each model's engines by limits chosen from all other models; return a row for each model and precision.

    ``passed`` and ``failed`` are the limits of ``band``. ``broken passed``, ``sound failed`` and ``open`` count
    engines, of ``engines`` in all.
    """
    made = []
    for model in dict.fromkeys(row["model"] for row in rows):
        for precision in PRECISIONS:
            of: dict[bool, list[tuple[float, bool]]] = {True: [], False: []}
            for row in rows:
                if row["precision"] == precision and row["truth"] in {"sound", "broken"}:
                    error = math.inf if row["slice_error"] is None else row["slice_error"]
                    of[row["model"] == model].append((error, row["truth"] == "sound"))
            passed, failed = band(of[False])
            judged = [(error <= passed, error > failed, is_sound) for error, is_sound in of[True]]
            counts = {
                "broken passed": sum(low and not is_sound for low, _, is_sound in judged),
                "sound failed": sum(high and is_sound for _, high, is_sound in judged),
                "open": sum(not low and not high for low, high, _ in judged),
            }
            made.append({"model": model, "precision": precision, "passed": passed, "failed": failed, **counts})
            made[-1]["engines"] = len(judged)
    return made
