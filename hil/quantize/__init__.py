"""Insert explicit Q/DQ nodes with ONNX Runtime's quantizer on the host: symmetric INT8, weights per channel.

The resulting model is stored under the digest of everything that it depends on, with a record of its calibration.
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
from hil.onnx_files.signature import read_signature
from hil.quantize.layout import OPTIONS_VERSION
from hil.quantize.ranges import Ranges, read_ranges, weighted_nodes
from hil.series import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from hil.config.spec import CalibrationSpec
    from hil.datasets.dataset import Dataset
    from hil.runtimes import QdqLayout

__all__ = ["Quantized", "Ranges", "key_parts", "quantize", "read_ranges", "samples_digest", "weighted_nodes"]


@dataclass(frozen=True)
class Quantized:
    """A model with Q/DQ nodes: its path, its SHA-256, the key under which it is stored, and its provenance.

    ``provenance`` has ``parts`` (of the key), ``samples`` and ``samples_digest`` (of the samples that calibration
    used), ``skipped`` (tensors left in float, with reasons) and ``foreign`` (whether the model already had Q/DQ nodes).
    If hil inserted them, it also has ``quantized`` (names of the nodes in INT8), ``floating`` (the nodes in float, as
    ``floating_facts`` returns them) and ``synthetic`` (whether the samples were generated). ``damaged`` is true if a
    stored model did not match its record and was made again.
    """

    path: Path
    digest: str
    key: str
    provenance: dict[str, Any]
    damaged: bool = False


def key_parts(model: Path, data: Dataset, spec: CalibrationSpec, layout: QdqLayout = "onnxruntime") -> dict[str, Any]:
    """Return everything that the ranges depend on, by name."""
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
    """Return the SHA-256 over the digests of the first ``samples`` samples."""
    state = hashlib.sha256()
    for digest in islice(data.sample_digests(), samples):
        state.update(digest.encode())
    return state.hexdigest()


def quantize(  # noqa: PLR0913 - a model, data, settings, and a place for the result
    model: Path,
    out_dir: Path,
    data: Dataset,
    spec: CalibrationSpec,
    *,
    layout: QdqLayout = "onnxruntime",
    counted: Callable[[int], None] = lambda _: None,
) -> Quantized:
    """Return ``model`` with Q/DQ nodes, calibrated on ``data``.

    The result is written to ``out_dir``, or reused if ``out_dir`` already has it. ``layout`` selects where the nodes
    are inserted (``hil.quantize.layout``). ``counted`` is called with the number of samples of each batch that
    calibration consumed. A model that already has Q/DQ nodes is returned unchanged. Raises ``UserError`` if the data
    has too few samples or a value that is not finite, if ``exclude_nodes`` names an unknown node, or if the model
    cannot be read or the result cannot be written. Raises ``EngineBuildError`` if the quantizer or ONNX Runtime fails.
    """
    parts = key_parts(model, data, spec, layout)
    key = digest_of(parts)
    if read_signature(model).has_qdq:
        note = {"parts": {}, "foreign": True, "samples": 0, "samples_digest": "", "skipped": {}}
        return Quantized(model, parts["model"], key, note)
    if parts["samples"] > data.count:
        raise UserError(
            f"calibration of model {model.stem} asks for {parts['samples']} samples, but {data.name} has {data.count}: "
            "lower calibration.samples or provide more data"
        )
    path, record = out_dir / f"{key}.onnx", out_dir / f"{key}.json"
    stored, damaged = _stored(path, record, key, parts)
    if stored is not None:
        return stored
    result = _quantize_and_store(path, record, key, model, data, spec, parts, counted)
    return replace(result, damaged=damaged)


def _stored(path: Path, record: Path, key: str, parts: dict[str, Any]) -> tuple[Quantized | None, bool]:
    """Return the stored model, or ``None`` if it cannot be used, and whether the stored files are damaged."""
    if not path.exists() or not record.exists():  # a killed run may leave only one of them
        return None, False
    try:
        provenance = json.loads(record.read_text())
        read_signature(path)  # raises for a file that was truncated before it was recorded
        if provenance["key"] != key or provenance["digest"] != file_digest(path) or not is_whole(path):
            return None, True
        facts = {**provenance, "seal": None}
    except (OSError, ValueError, KeyError, TypeError, UserError):
        return None, True
    if provenance.get("parts") != parts or not is_sealed(facts, provenance.get("seal")):
        return None, False
    return Quantized(path, provenance["digest"], key, provenance), False


def _quantize_and_store(  # noqa: PLR0913, PLR0917 - private: the values of quantize()
    path: Path,
    record: Path,
    key: str,
    model: Path,
    data: Dataset,
    spec: CalibrationSpec,
    parts: dict[str, Any],
    counted: Callable[[int], None],
) -> Quantized:
    from hil.quantize.calibrate import calibrated

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".making-", dir=path.parent) as folder:
            calibrated_model = calibrated(model, data, spec, parts, Path(folder), counted)
            digest = file_digest(calibrated_model.path)
            provenance = {"key": key, "digest": digest, "parts": parts, "foreign": False, **calibrated_model.facts}
            new_record = Path(folder) / "record.json"
            provenance["seal"] = seal({**provenance, "seal": None})
            new_record.write_text(json.dumps(provenance, indent=1, sort_keys=True))
            for file in external_files(calibrated_model.path):
                file.path.replace(path.parent / file.location)
            calibrated_model.path.replace(path)  # before the record, which must only exist for a complete model
            new_record.replace(record)
    except OSError as error:
        where, why = path.parent, error.strerror or error
        raise UserError(f"cannot write the INT8 model of {model.stem} to {where} ({why}): free space there") from None
    return Quantized(path, digest, key, provenance)
