"""Find the differences between the environments of two sides, and whether different machines explain a change."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hil.compare.methods import ABSENT, flat
from hil.compare.schema import Differing
from hil.compare.sides import UNKNOWN_MACHINE
from hil.units import show

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hil.compare.sides import Side
    from hil.history import RunRecord

WORDS = {
    "identity.jetpack": "JetPack",
    "identity.l4t": "L4T",
    "identity.tensorrt": "TensorRT",
    "runtimes.tensorrt": "TensorRT",
    "identity.cuda": "CUDA",
    "accelerator.cuda": "CUDA",
    "driven_by.cuda": "CUDA",
    "identity.cudnn": "cuDNN",
    "accelerator.driver": "driver",
    "driven_by.driver": "driver",
    "identity.power_mode": "power mode",
    "clocks_policy": "clocks policy",
    "identity.serial": "serial",
    "identity.module": "module",
    "accelerator.gpu": "GPU",
    "runtimes.onnxruntime": "ONNX Runtime",
    "cpu_model": "CPU",
}
"""Display names of an environment's fields, in the order in which differences are listed."""
ORDER = (
    *dict.fromkeys(WORDS.values()),
    "clocks",
    "INT8 route",
    "ran on",
    "runtime",
    "hil",
    "commit",
    "target",
    "hil.toml",
)
REPLACED = {"runtime", "l4t"}
"""Fields of an environment that are left out, because the run record has them in a better form."""
UNKNOWN = "unknown"
UNITS = (("clocks: ", (".min", ".max"), "Hz"), ("memory_total", ("",), "B"))
"""Beginnings and ends of the names of fields that are numbers, and their unit."""
NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e\+?\d+)?")
SHORT = 12
MOST_VALUES = 4


def changed(base: Side, cand: Side) -> tuple[Differing, ...]:
    """Return each field in which the sides' environments, runs or INT8 routes differ, in the order of ``ORDER``."""
    ours, theirs = _field_values(base), _field_values(cand)
    differences = []
    for name in sorted(dict.fromkeys((*ours, *theirs)), key=_order):
        left, right = ours.get(name, {ABSENT}), theirs.get(name, {ABSENT})
        if left != right:
            pair = _with_units(name, left), _with_units(name, right)
            if pair[0] == pair[1]:  # the shown digits do not tell them apart
                pair = left, right
            differences.append(Differing(name=name, base=_values_text(pair[0]), cand=_values_text(pair[1])))
    return tuple(differences)


def confounded(base: Side, cand: Side) -> str | None:
    """Return why different machines may be the cause of a change; ``None`` if all runs used one known machine."""
    ours, theirs = base.machines, cand.machines
    if len({*ours, *theirs}) == 1 and UNKNOWN_MACHINE not in ours[0]:
        return None
    boards = {(run.serial is not None, run.module) for run in (*base.runs, *cand.runs)}
    alike = len(boards) == 1 and all(known and module for known, module in boards)
    advice = "calibrate the boards as a pool (hil board calibrate POOL), or " if alike else "or "
    what = "an unknown machine" if len({*ours, *theirs}) == 1 else "different machines"
    return (
        f"measured on {what} ({base.name}: {', '.join(ours)}; {cand.name}: {', '.join(theirs)}): "
        f"the machine may be the cause of a change: measure both on the same machine, {advice}pass --across-boards"
    )


def _field_values(side: Side) -> dict[str, set[str]]:
    """Return all values of each field on this side, by the field's display name."""
    fields: dict[str, set[str]] = {}
    for facts in side.environments.values():
        for name, value in flat(facts).items():
            if value not in {"null", "{}"} and name not in REPLACED:
                fields.setdefault(_display_name(name), set()).add(value)
    for run in side.runs:
        for name, text in _run_fields(run):
            fields.setdefault(name, set()).add(text)
    for route in _routes(side):
        fields.setdefault("INT8 route", set()).add(route)
    processors = {point.executed_on for point in side.points if point.executed_on}
    if processors:
        fields["ran on"] = processors
    return fields


def _display_name(name: str) -> str:
    if name in WORDS:
        return WORDS[name]
    return name.replace("clocks.", "clocks: ", 1) if name.startswith("clocks.") else name


def _run_fields(run: RunRecord) -> Iterable[tuple[str, str]]:
    commit = None if run.commit is None else run.commit[:SHORT] + (" with changes" if run.dirty else "")
    fields = {"JetPack": run.jetpack, "L4T": run.l4t, "CUDA": run.cuda, "serial": run.serial, "module": run.module}
    fields |= {"hil": run.hil_version, "commit": commit, "target": run.used, "hil.toml": run.config_digest[:SHORT]}
    fields["runtime"] = f"{run.runtime} {run.runtime_version or UNKNOWN}"
    return ((name, value) for name, value in fields.items() if value)


def _routes(side: Side) -> set[str]:
    """Return the INT8 routes by which the side's engines were calibrated, from the methods of the int8 checks."""
    facts = (side.methods.get(point.method, {}) for point in side.points if point.check.startswith("int8."))
    return {str(each["route"]) for each in facts if each.get("route")}


def _order(name: str) -> tuple[int, str]:
    word = name.split(":", maxsplit=1)[0]
    return (ORDER.index(word) if word in ORDER else len(ORDER), name)


def _with_units(name: str, values: set[str]) -> set[str]:
    """Return the values of a field as the report shows them, with their unit if the field has one."""
    unit = next((unit for start, ends, unit in UNITS if name.startswith(start) and name.endswith(ends)), None)
    return {show(float(text), unit) if unit and NUMBER.fullmatch(text) else text for text in values}


def _values_text(values: set[str]) -> str:
    shown = sorted(values)
    more = f" and {len(shown) - MOST_VALUES} more" if len(shown) > MOST_VALUES else ""
    return ", ".join(shown[:MOST_VALUES]) + more
