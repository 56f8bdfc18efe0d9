"""Makes each changed model once, reads its answers, and stores its outputs, so that they can be judged again."""

from __future__ import annotations

import json
import os
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks.accuracy import graphs
from benchmarks.accuracy.case import Case
from benchmarks.accuracy.damage import PLACED
from benchmarks.accuracy.faults import CALIBRATED, FAULTS
from benchmarks.accuracy.sound import SOUND
from benchmarks.accuracy.subjects import SUBJECTS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import onnx
    from numpy.typing import NDArray

    from benchmarks.accuracy.truth import Truth

    Arrays = dict[str, NDArray[Any]]

MOST_SOUND, LEAST_BROKEN, TELLING = 0.02, 0.10, 0.8
"""The largest share of answers that a sound engine changes, the smallest share that a broken engine changes, and the
smallest share of non-trivial answers of a reference."""

NOTHING = "nothing of the kind"
"""The reason why a change of a model is not made."""

UNJUDGED = ("none", "untold", "harmless")
"""The truths of changes that are not judged, because their verdict would prove nothing."""


class Variant(NamedTuple):
    """A change of one model: its group, its name, the precisions judged, and whether it starts from the INT8 copy."""

    model: str
    group: str
    kind: str
    precisions: tuple[str, ...]
    int8: bool = False

    @property
    def file(self) -> str:
        """The name of the stored outputs, without suffix."""
        return "-".join([self.group, *self.kind.replace(",", "").split(), *["int8"] * self.int8])


def variants(model: str, seed: int) -> list[Variant]:
    """Return all changes of a model; ``seed`` decides which damage starts from the INT8 copy."""
    made = [Variant(model, "sound", kind, (precision,)) for kind, (precision, _) in SOUND.items()]
    random = np.random.default_rng([seed, *model.encode()])
    for kind in PLACED:
        int8 = bool(random.random() < 0.5)
        made.append(Variant(model, "placed", kind, ("int8",) if int8 else ("fp16", "int8"), int8=int8))
    made += [Variant(model, "fault", kind, ("fp16", "int8")) for kind in FAULTS]
    made += [Variant(model, "calibrated", kind, ("int8",)) for kind in CALIBRATED]
    return made


class Store:
    """The outputs of one model and its changed copies, stored below ``folder``."""

    def __init__(self, folder: Path, packages: Path, model: str, seed: int, samples: int) -> None:
        self.folder = folder / f"{seed}-{samples}" / model
        self.folder.mkdir(parents=True, exist_ok=True)
        self.packages, self.model, self.seed, self.samples = packages, model, seed, samples
        self.subject = SUBJECTS[model]

    @cached_property
    def case(self) -> Case:
        """The reference with all that changes need."""
        return Case(self.model, self.subject, self.subject.reference(self.packages), self.seed)

    @cached_property
    def data(self) -> tuple[Arrays, Arrays]:
        """The samples for the truth, and those for the judges."""
        made = self.subject.make(self.case.model, 2 * self.samples, self.seed)
        order = np.random.default_rng(self.seed).permutation(2 * self.samples)
        first, second = order[: self.samples], order[self.samples :]
        return {name: values[first] for name, values in made.items()}, {name: one[second] for name, one in made.items()}

    @cached_property
    def reference(self) -> Arrays:
        """The reference's outputs for the judges."""
        return self._stored("reference", 1)

    @cached_property
    def _answers(self) -> tuple[Truth, Sequence[Any]]:
        """The reader of answers, and the reference's answers to the truth's samples."""
        reader = self.subject.truth()
        return reader, reader.answers(self._stored("reference-truth", 0))

    def _stored(self, name: str, part: int) -> Arrays:
        path = self.folder / f"{name}.npz"
        if not path.exists():
            _write(path, graphs.run(self.case.model, self.data[part]))
        return read(path)

    def facts(self, variant: Variant) -> dict[str, Any]:
        """Return the facts of a change: the shares ``changed`` and ``telling`` of answers, and ``seconds``.

        ``changed`` is ``None``, with a ``reason``, if the change does not apply or cannot be built.
        """
        path = self.folder / f"{variant.file}.json"
        if not path.exists():
            started = time.perf_counter()
            facts = self._made(variant)
            facts["seconds"] = round(time.perf_counter() - started, 2)
            path.write_text(json.dumps(facts))
        return dict(json.loads(path.read_text()))

    def outputs(self, variant: Variant) -> Arrays:
        """Return the outputs of a changed model for the judges."""
        return read(self.folder / f"{variant.file}.npz")

    def _made(self, variant: Variant) -> dict[str, Any]:
        try:
            model = self._build(variant)
            if model is None:
                return {"changed": None, "reason": NOTHING}
            facts = self._truth(graphs.run(model, self.data[0]))
            if truth_of(variant, facts) not in UNJUDGED:
                _write(self.folder / f"{variant.file}.npz", graphs.run(model, self.data[1]))
        except Exception as error:  # noqa: BLE001 - ONNX, ONNX Runtime and the quantizer have no common base class
            return {"changed": None, "reason": f"not built: {type(error).__name__}: {error}"[:300]}
        return facts

    def _truth(self, outputs: Arrays) -> dict[str, Any]:
        reader, ours = self._answers
        changed = [reader.changed(one, other) for one, other in zip(ours, reader.answers(outputs), strict=True)]
        return {"changed": float(np.mean(changed)), "telling": reader.telling(ours), "reason": ""}

    def _build(self, variant: Variant) -> onnx.ModelProto | None:
        case, random = self.case, self.case.random(variant.kind)
        if variant.group == "sound":
            return SOUND[variant.kind][1](case, random)
        damage = {"placed": PLACED, "fault": FAULTS, "calibrated": CALIBRATED}[variant.group][variant.kind]
        return damage(case, case.good_int8 if variant.int8 else case.simple, random)


def truth_of(variant: Variant, facts: dict[str, Any]) -> str:
    """Return how an engine counts: ``none``, ``untold``, ``broken``, ``between``, ``sound`` or ``harmless``.

    It is ``none`` if the change does not apply, ``untold`` if too many of the reference's answers are trivial, and
    ``harmless`` if damage has no effect.
    """
    if facts["changed"] is None:
        return "none"
    if facts["telling"] < TELLING:
        return "untold"
    if facts["changed"] >= LEAST_BROKEN:
        return "broken"
    if facts["changed"] > MOST_SOUND:
        return "between"
    return "sound" if variant.group == "sound" else "harmless"


def read(path: Path) -> Arrays:
    """Return the arrays of a stored file."""
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def _write(path: Path, arrays: Arrays) -> None:
    part = path.with_suffix(f".{os.getpid()}")
    with part.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # no array is named allow_pickle
    part.replace(path)
