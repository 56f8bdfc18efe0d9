"""Decide which of a board's rails give its total power: the meter on its input, or all rails if they add up to it."""

from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

INPUTS = ("VDD_IN", "POM_5V_IN", "VIN")
"""Meters on a module's or board's input. VDD_IN: TX2, Xavier NX, Orin Nano and NX; POM_5V_IN: Nano; VIN: Thor."""

ADD_UP = (
    frozenset({"GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"}),
    frozenset({"VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"}),
)
"""Rails of boards without an input meter (AGX Xavier, AGX Orin); a sum needs all rails of one of these sets."""


def total(rails: Sequence[str], missing: Mapping[str, str]) -> Tuple[List[str], str]:
    """Return the rails whose sum is the board's power, and a label for the sum; or no rails, and the reason.

    ``rails`` are the readable rails. ``missing`` has the reason for each unreadable rail.
    """
    for name in INPUTS:
        if name in rails:
            return [name], name
        if name in missing:
            return [], "%s, the meter on the board's input, cannot be read: %s" % (name, missing[name])
    if not rails and not missing:
        return [], "no known meter measures the board's power"
    if missing:
        first = min(missing)
        return [], "the rail %s cannot be read (%s), and without it a sum is too low" % (first, missing[first])
    if not any(known <= set(rails) for known in ADD_UP):
        return [], "its rails (%s) are not known to add up to the board's power" % ", ".join(sorted(rails))
    return list(rails), "sum of " + ", ".join(rails)


def column(names: Sequence[str], columns: Mapping[str, Sequence[Optional[float]]]) -> List[Optional[float]]:
    """Return the sum of the columns ``names`` in W at each sample.

    A sum is None if a reading is missing or the sum is not positive.
    """
    sums: List[Optional[float]] = []
    for row in zip(*(columns[name] for name in names)):
        values = [value for value in row if value is not None]
        power = round(sum(values), 6) if len(values) == len(row) else 0.0
        sums.append(power if power > 0 else None)
    return sums


def add_total(
    columns: Dict[str, Any],
    rails: Sequence[str],
    missing: Mapping[str, str],
    not_readable: Dict[str, str],
    sources: Dict[str, str],
) -> None:
    """Add ``power.total`` to ``columns`` and its label to ``sources``; if unknown, add the reason to ``not_readable``.

    ``columns`` has one column ``power.NAME`` for each rail; ``rails`` and ``missing`` are those of ``total``.
    """
    names, label = total(rails, missing)
    if names:
        columns["power.total"] = column(["power." + name for name in names], columns)
        sources["power.total"] = label
    else:
        not_readable["power.total"] = label
