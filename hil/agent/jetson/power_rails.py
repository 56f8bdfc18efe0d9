"""Which of a board's rails is its power: the meter on its input, or the rails that add up to it."""

from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

INPUTS = ("VDD_IN", "POM_5V_IN", "VIN")
"""Meters on a module's or board's input. VDD_IN: TX2, Xavier NX, Orin Nano and NX; POM_5V_IN: Nano; VIN: Thor."""

ADD_UP = (
    frozenset({"GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"}),
    frozenset({"VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"}),
)
"""Rails of boards without such a meter (AGX Xavier, AGX Orin) that must all be there before a sum says anything."""


def total(rails: Sequence[str], missing: Mapping[str, str]) -> Tuple[List[str], str]:
    """The rails whose sum is the board's power, and what to call that; or none of them, and why.

    ``rails`` are those that are read, ``missing`` those that are there and cannot be. A sum with a rail missing would
    be too low, so that there is none then; nor of rails that are not known to add up.
    """
    for name in INPUTS:
        if name in rails:
            return [name], name
        if name in missing:
            return [], "%s, the meter on the board's input, cannot be read: %s" % (name, missing[name])
    if not rails and not missing:
        return [], "no meter is known here that tells the board's power"
    if missing:
        first = min(missing)
        return [], "the rail %s cannot be read (%s), and without it a sum is too low" % (first, missing[first])
    if not any(known <= set(rails) for known in ADD_UP):
        return [], "its rails (%s) are not known to add up to the board's power" % ", ".join(sorted(rails))
    return list(rails), "sum of " + ", ".join(rails)


def column(names: Sequence[str], columns: Mapping[str, Sequence[Optional[float]]]) -> List[Optional[float]]:
    """W at each sample, of the columns ``names`` together; None where one of them was not read, or all give nothing."""
    found: List[Optional[float]] = []
    for row in zip(*(columns[name] for name in names)):
        known = [value for value in row if value is not None]
        whole = round(sum(known), 6) if len(known) == len(row) else 0.0
        found.append(whole if whole > 0 else None)
    return found


def add_total(
    told: Dict[str, Any],
    rails: Sequence[str],
    missing: Mapping[str, str],
    not_readable: Dict[str, str],
    sources: Dict[str, str],
) -> None:
    """Puts ``power.total`` beside the columns (``power.NAME``) of ``told`` with its source, or why there is none."""
    names, label = total(rails, missing)
    if names:
        told["power.total"] = column(["power." + name for name in names], told)
        sources["power.total"] = label
    else:
        not_readable["power.total"] = label
