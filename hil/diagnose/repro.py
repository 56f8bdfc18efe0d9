"""Writes the bundle that reproduces a failure on a laptop: models, inputs, outputs, environment and a script.

The script ``repro.py`` needs only numpy and onnxruntime. Arrays are ``.npz`` files without pickle.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from hil.files.digests import writing

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

    from hil.diagnose.diagnosis import Diagnosis, Part

MOST = 256 * 2**20
"""Limit in bytes for the reference and the engine's graph together; larger models are left out of the bundle.

Inputs of a sequence have the same limit.
"""

VERSION = 1


class Examined(Protocol):
    """A diagnosis with the models and inputs that it was made from, as ``hil.session.diagnosing`` returns it."""

    @property
    def diagnosis(self) -> Diagnosis: ...  # noqa: D102 - described above
    @property
    def reference(self) -> onnx.ModelProto: ...  # noqa: D102 - described above
    @property
    def suspect(self) -> onnx.ModelProto: ...  # noqa: D102 - described above
    @property
    def feeds(self) -> Mapping[str, Any]: ...  # noqa: D102 - described above
    @property
    def replayed(self) -> Replayed | None: ...  # noqa: D102 - described above


@dataclass(frozen=True)
class Replayed:
    """Sequences of a model with a state up to the examined step, which is the last.

    Attributes:
        steps: the inputs that are not carried, ``[steps, *shape]``.
        begin: the states with which the sequences begin.
        carry: the output that feeds each carried input.
        expected: the reference's outputs of the last step, which was fed with its own states.
        obtained: the engine's outputs of the last step, which was fed with its own states.
    """

    steps: Mapping[str, Any]
    begin: Mapping[str, Any]
    carry: Mapping[str, str]
    expected: Mapping[str, Any]
    obtained: Mapping[str, Any]


@dataclass(frozen=True)
class Arrays:
    """A file of arrays. Its keys are numbered, since a tensor's name may be invalid as a name in the file."""

    file: str
    arrays: Mapping[str, Any]

    def write(self, folder: Path) -> dict[str, Any]:
        """Write the file to ``folder``. Return its entry for the index: its name, and the tensor's name by key."""
        np.savez_compressed(folder / self.file, **{f"a{n}": array for n, array in enumerate(self.arrays.values())})
        return {"file": self.file, "names": {f"a{n}": name for n, name in enumerate(self.arrays)}}


def write(folder: Path, examined: Examined, facts: Mapping[str, Any], verdict: str) -> Path:
    """Write the bundle of ``examined`` to ``folder``, in place of an earlier bundle, and return its path.

    ``facts`` are the target's facts, ``verdict`` is the check's verdict as text. Raise ``UserError`` or ``LabError`` if
    the folder cannot be written.
    """
    with writing(folder.parent):
        # Renamed once complete, so that the folder never has a partial bundle.
        made = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
        try:
            _fill(made, examined, facts, verdict)
            made.chmod(0o755)  # mkdtemp creates the folder for its owner only
            shutil.rmtree(folder, ignore_errors=True)
            made.rename(folder)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return folder


def _fill(folder: Path, examined: Examined, facts: Mapping[str, Any], verdict: str) -> None:
    import onnx
    import onnxruntime

    part = examined.diagnosis.part
    index: dict[str, Any] = {
        "version": VERSION,
        "verdict": verdict,
        "diagnosis": examined.diagnosis.as_json(),
        "host": {"numpy": np.__version__, "onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__},
        "target": json.loads(json.dumps(dict(facts), default=str)),
        "whole": _models(folder, "", examined.suspect, examined.reference),
    }
    index["whole"] |= {"inputs": Arrays("inputs.npz", examined.feeds).write(folder)}
    if part is not None:
        index["part"] = _part(folder, part)
    if examined.replayed is not None:
        index["sequence"] = _sequence(folder, examined.replayed)
    (folder / "environment.json").write_text(json.dumps(index, indent=1, sort_keys=True), encoding="utf-8")
    script = resources.files("hil.diagnose").joinpath("replay.py").read_text(encoding="utf-8")
    (folder / "repro.py").write_text(script, encoding="utf-8")


def _sequence(folder: Path, replayed: Replayed) -> dict[str, Any]:
    kept = {
        "inputs": Arrays("sequence-inputs.npz", replayed.steps),
        "begin": Arrays("sequence-states.npz", replayed.begin),
        "expected": Arrays("sequence-reference-outputs.npz", replayed.expected),
        "obtained": Arrays("sequence-engine-outputs.npz", replayed.obtained),
    }
    if sum(array.nbytes for array in replayed.steps.values()) > MOST:
        del kept["inputs"]
    return {"carry": dict(replayed.carry), **{key: arrays.write(folder) for key, arrays in kept.items()}}


def _part(folder: Path, part: Part) -> dict[str, Any]:
    return {
        **_models(folder, "part-", part.model, part.reference),
        "inputs": Arrays("part-inputs.npz", part.feeds).write(folder),
        "expected": Arrays("part-reference-outputs.npz", part.expected).write(folder),
        "obtained": Arrays("part-engine-outputs.npz", part.obtained).write(folder),
    }


def _models(folder: Path, prefix: str, engine: onnx.ModelProto, reference: onnx.ModelProto | None) -> dict[str, Any]:
    named = {"engine": engine, "reference": reference}
    present = {key: model for key, model in named.items() if model is not None}
    if sum(model.ByteSize() for model in present.values()) > MOST:
        return {}
    for key, model in present.items():
        (folder / f"{prefix}{key}.onnx").write_bytes(model.SerializeToString())
    return {key: f"{prefix}{key}.onnx" for key in present}
