"""Explicit Q/DQ by ONNX Runtime's quantizer on the host: symmetric INT8, zero points 0, weights per channel.

The result is kept by a key over all that it depends on, with a record of what calibration consumed, and
is checked by digest before it is used again.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hil.errors import UserError
from hil.files.digests import file_digest
from hil.files.sealing import is_sealed, seal
from hil.onnx_files.external_data import external_files, is_whole
from hil.onnx_files.signature import Signature, read_signature
from hil.quantize.layout import OPTIONS_VERSION
from hil.quantize.ranges import Ranges, read_ranges, weighted_nodes
from hil.series import digest_of

if TYPE_CHECKING:
    from hil.config.spec import CalibrationSpec
    from hil.datasets.dataset import Dataset
    from hil.runtimes import QdqLayout

__all__ = ["Quantized", "Ranges", "key_parts", "quantize", "read_ranges", "samples_digest", "weighted_nodes"]


@dataclass(frozen=True)
class Quantized:
    """A model with Q/DQ nodes: where it is, its sha256, the key it is kept by, and where it came from.

    ``provenance`` holds ``parts`` (of the key), ``samples`` and ``samples_digest`` (what calibration consumed),
    ``quantized`` (node names), ``skipped`` (tensors left in float, and why), ``foreign`` (the model brought
    its own Q/DQ nodes) and ``synthetic``. ``damaged`` says that what was kept under this key was not what its record
    says, and was made again.
    """

    path: Path
    digest: str
    key: str
    provenance: dict[str, Any]
    damaged: bool = False


def key_parts(model: Path, data: Dataset, spec: CalibrationSpec, layout: QdqLayout = "onnxruntime") -> dict[str, Any]:
    """All that the ranges depend on, by name; ``int8.cache`` compares them with what a file was made from."""
    import onnxruntime

    return {
        "model": file_digest(model),
        "data": data.digest,
        "preprocess": data.provenance.get("preprocess_digest", ""),
        "method": spec.method,
        "percentile": spec.percentile if spec.method == "percentile" else None,
        "samples": spec.samples or data.count,
        "exclude_nodes": sorted(spec.exclude_nodes),
        "layout": layout,
        "options": OPTIONS_VERSION,
        "onnxruntime": onnxruntime.__version__,
    }


def samples_digest(data: Dataset, samples: int) -> str:
    """SHA-256 over the digests of the first ``samples`` samples, as the record's ``samples_digest`` is made."""
    state = hashlib.sha256()
    for digest in islice(data.sample_digests(), samples):
        state.update(digest.encode())
    return state.hexdigest()


def quantize(
    model: Path, out_dir: Path, data: Dataset, spec: CalibrationSpec, *, layout: QdqLayout = "onnxruntime"
) -> Quantized:
    """Calibrates ``model`` on ``data`` and writes it with Q/DQ nodes to ``out_dir``, or takes it from there.

    ``runtime`` chooses the layout (``hil.quantize.layout``): the two runtimes fuse different patterns. A model
    that has Q/DQ nodes already is used as it is. Raises ``UserError`` for data that is too little or not
    finite and for unknown ``exclude_nodes``, ``EngineBuildError`` where the quantizer or ONNX Runtime fails.
    """
    signature = read_signature(model)
    parts = key_parts(model, data, spec, layout)
    key = digest_of(parts)
    if signature.has_qdq:
        note = {"parts": {}, "foreign": True, "samples": 0, "samples_digest": "", "skipped": {}}
        return Quantized(model, parts["model"], key, note)
    if parts["samples"] > data.count:
        raise UserError(
            f"calibration of model {model.stem} asks for {parts['samples']} samples, {data.name} has {data.count}: "
            "lower calibration.samples or give more data"
        )
    path, record = out_dir / f"{key}.onnx", out_dir / f"{key}.json"
    kept, damaged = _kept(path, record, key, parts)
    if kept is not None:
        return kept
    made = _made(path, record, key, model, signature, data, spec, parts)
    return replace(made, damaged=damaged)


def _kept(path: Path, record: Path, key: str, parts: dict[str, Any]) -> tuple[Quantized | None, bool]:
    """What is there already and may be used, and whether something is there that is not what its record says.

    A record that this user's runs did not seal is as good as none, and no damage: another machine's cache has such.
    """
    if not path.exists() or not record.exists():  # a killed run leaves the one without the other
        return None, False
    try:
        provenance = json.loads(record.read_text())
        read_signature(path)  # a record may have been made of a file that was cut short already
        if provenance["key"] != key or provenance["digest"] != file_digest(path) or not is_whole(path):
            return None, True
        facts = {**provenance, "seal": None}
    except (OSError, ValueError, KeyError, TypeError, UserError):
        return None, True
    if provenance.get("parts") != parts or not is_sealed(facts, provenance.get("seal")):
        return None, False
    return Quantized(path, provenance["digest"], key, provenance), False


def _made(  # noqa: PLR0913, PLR0917 - private: what quantize() worked out
    path: Path,
    record: Path,
    key: str,
    model: Path,
    signature: Signature,
    data: Dataset,
    spec: CalibrationSpec,
    parts: dict[str, Any],
) -> Quantized:
    from hil.quantize.calibrate import calibrated

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".making-", dir=path.parent) as making:
            result = calibrated(model, signature, data, spec, parts, Path(making))
            digest = file_digest(result.path)
            provenance = {"key": key, "digest": digest, "parts": parts, "foreign": False, **result.facts}
            note = Path(making) / "record.json"
            provenance["seal"] = seal({**provenance, "seal": None})
            note.write_text(json.dumps(provenance, indent=1, sort_keys=True))
            for file in external_files(result.path):
                file.path.replace(path.parent / file.location)
            result.path.replace(path)  # the model first: a record without its model is made again
            note.replace(record)
    except OSError as error:
        where, why = path.parent, error.strerror or error
        raise UserError(f"cannot write the INT8 model of {model.stem} to {where} ({why}): make room there") from None
    return Quantized(path, digest, key, provenance)
