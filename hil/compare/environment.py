"""What changed between two sides, which is the point of comparing them, and what makes the change unreadable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hil.compare.machines import UNKNOWN_MACHINE
from hil.compare.methods import ABSENT, flat
from hil.compare.schema import Differing

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
"""What people call the fields of an environment, in the order in which they are told."""
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
TOLD_BETTER = {"runtime", "l4t"}
"""Fields that the run tells with its version, or without the rest of the file that it was read from."""
UNKNOWN = "unknown"
SHORT = 12
MOST_VALUES = 4


def changed(base: Side, cand: Side) -> tuple[Differing, ...]:
    """What differs between the sides' environments, runs and INT8 routes; the best known first, each once."""
    ours, theirs = _seen(base), _seen(cand)
    found = []
    for name in sorted(dict.fromkeys((*ours, *theirs)), key=_order):
        left, right = ours.get(name, {ABSENT}), theirs.get(name, {ABSENT})
        if left != right:
            found.append(Differing(name=name, base=_told(left), cand=_told(right)))
    return tuple(found)


def confounded(base: Side, cand: Side) -> str | None:
    """Why a change may be the machine's, or ``None``: every run of both sides must be of one known machine."""
    ours, theirs = base.machines, cand.machines
    if len({*ours, *theirs}) == 1 and UNKNOWN_MACHINE not in ours[0]:
        return None
    what = "a machine that is not known" if len({*ours, *theirs}) == 1 else "different machines"
    return (
        f"measured on {what} ({base.name}: {', '.join(ours)}; {cand.name}: {', '.join(theirs)}): "
        "a change may be the machine's: measure both on one, or say --across-boards"
    )


def _seen(side: Side) -> dict[str, set[str]]:
    """Every value of every field on this side, under the word that people know it by."""
    found: dict[str, set[str]] = {}
    for facts in side.environments.values():
        for name, value in flat(facts).items():
            if value not in {"null", "{}"} and name not in TOLD_BETTER:
                found.setdefault(_word(name), set()).add(value)
    for run in side.runs:
        for name, known in _of_run(run):
            found.setdefault(name, set()).add(known)
    for route in _routes(side):
        found.setdefault("INT8 route", set()).add(route)
    processors = {point.executed_on for point in side.points if point.executed_on}
    if processors:
        found["ran on"] = processors
    return found


def _word(name: str) -> str:
    if name in WORDS:
        return WORDS[name]
    return name.replace("clocks.", "clocks: ", 1) if name.startswith("clocks.") else name


def _of_run(run: RunRecord) -> Iterable[tuple[str, str]]:
    commit = None if run.commit is None else run.commit[:SHORT] + (" with changes" if run.dirty else "")
    told = {"JetPack": run.jetpack, "L4T": run.l4t, "CUDA": run.cuda, "serial": run.serial, "module": run.module}
    told |= {"hil": run.hil_version, "commit": commit, "target": run.used, "hil.toml": run.config_digest[:SHORT]}
    told["runtime"] = f"{run.runtime} {run.runtime_version or UNKNOWN}"
    return ((name, value) for name, value in told.items() if value)


def _routes(side: Side) -> set[str]:
    """The INT8 routes by which engines were calibrated, as the methods of the int8 checks tell."""
    facts = (side.methods.get(point.method, {}) for point in side.points if point.check.startswith("int8."))
    return {str(each["route"]) for each in facts if each.get("route")}


def _order(name: str) -> tuple[int, str]:
    word = name.split(":", maxsplit=1)[0]
    return (ORDER.index(word) if word in ORDER else len(ORDER), name)


def _told(values: set[str]) -> str:
    shown = sorted(values)
    more = f" and {len(shown) - MOST_VALUES} more" if len(shown) > MOST_VALUES else ""
    return ", ".join(shown[:MOST_VALUES]) + more
