"""The bundle of a failure: models, inputs, both sides' outputs, environment, and a script that shows it on a laptop.

Nothing in it is executed but ``repro.py``, which needs numpy and onnxruntime alone; arrays are ``.npz`` without pickle.
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
"""Bytes of both whole models up to which they are put in beside the part at fault."""

VERSION = 1


class Examined(Protocol):
    """A diagnosis with what it was made from, as ``hil.session.diagnosing`` gives it."""

    @property
    def diagnosis(self) -> Diagnosis: ...  # noqa: D102 - told above
    @property
    def reference(self) -> onnx.ModelProto: ...  # noqa: D102 - told above
    @property
    def suspect(self) -> onnx.ModelProto: ...  # noqa: D102 - told above
    @property
    def feeds(self) -> Mapping[str, Any]: ...  # noqa: D102 - told above


@dataclass(frozen=True)
class Arrays:
    """A file of arrays: keys are numbers, since names of tensors may be no names of files."""

    file: str
    arrays: Mapping[str, Any]

    def write(self, folder: Path) -> dict[str, Any]:
        """Writes it and returns its entry for the index."""
        np.savez_compressed(folder / self.file, **{f"a{n}": array for n, array in enumerate(self.arrays.values())})
        return {"file": self.file, "names": {f"a{n}": name for n, name in enumerate(self.arrays)}}


def write(folder: Path, found: Examined, facts: Mapping[str, Any], verdict: str) -> Path:
    """Writes the bundle of ``found`` to ``folder``, whole or not at all, in the place of an earlier one; its path.

    ``facts`` are the target's, ``verdict`` what the check said. Raises ``UserError`` or ``LabError`` where the folder
    cannot be written.
    """
    with writing(folder.parent):
        made = Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
        try:
            _fill(made, found, facts, verdict)
            made.chmod(0o755)  # a temporary folder is its maker's alone
            shutil.rmtree(folder, ignore_errors=True)
            made.rename(folder)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return folder


def _fill(folder: Path, found: Examined, facts: Mapping[str, Any], verdict: str) -> None:
    import onnx
    import onnxruntime

    part = found.diagnosis.part
    index: dict[str, Any] = {
        "version": VERSION,
        "verdict": verdict,
        "diagnosis": found.diagnosis.as_json(),
        "host": {"numpy": np.__version__, "onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__},
        "target": json.loads(json.dumps(dict(facts), default=str)),
        "whole": _models(folder, "", found.suspect, found.reference),
    }
    index["whole"] |= {"inputs": Arrays("inputs.npz", found.feeds).write(folder)}
    if part is not None:
        index["part"] = _part(folder, part)
    (folder / "environment.json").write_text(json.dumps(index, indent=1, sort_keys=True), encoding="utf-8")
    script = resources.files("hil.diagnose").joinpath("replay.py").read_text(encoding="utf-8")
    (folder / "repro.py").write_text(script, encoding="utf-8")


def _part(folder: Path, part: Part) -> dict[str, Any]:
    return {
        **_models(folder, "part-", part.model, part.reference),
        "inputs": Arrays("part-inputs.npz", part.feeds).write(folder),
        "expected": Arrays("part-reference-outputs.npz", part.expected).write(folder),
        "obtained": Arrays("part-engine-outputs.npz", part.obtained).write(folder),
    }


def _models(folder: Path, prefix: str, engine: onnx.ModelProto, reference: onnx.ModelProto | None) -> dict[str, Any]:
    named = {"engine": engine, "reference": reference}
    there = {key: model for key, model in named.items() if model is not None}
    if sum(model.ByteSize() for model in there.values()) > MOST:
        return {}
    for key, model in there.items():
        (folder / f"{prefix}{key}.onnx").write_bytes(model.SerializeToString())
    return {key: f"{prefix}{key}.onnx" for key in there}
