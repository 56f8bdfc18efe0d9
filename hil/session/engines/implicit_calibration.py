"""Send the calibration samples to the target for TensorRT's own calibrator (``calibration.route = "implicit"``).

TensorRT 8 to 10 have such calibrators.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hil.dtypes import is_finite
from hil.errors import UserError
from hil.files.digests import file_digest
from hil.series import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hil.config.spec import CalibrationSpec
    from hil.datasets import Dataset
    from hil.onnx_files.signature import Signature
    from hil.targets.client import AgentClient

ALGORITHMS = {"entropy": "entropy2", "minmax": "minmax"}
"""``calibration.method`` as TensorRT calls it: IInt8EntropyCalibrator2 and IInt8MinMaxCalibrator."""

MAX_BATCH = 32
"""Most samples in a batch whose size is free: a calibrator keeps every activation of a batch on the device."""

OPTIONS_VERSION = 1
"""Part of the engine's key: increase it with every change here that changes what the calibrator is fed."""


@dataclass(frozen=True)
class Streamed:
    """The calibration data in the target's store.

    Attributes:
        key: the digest of ``parts``.
        parts: what ``key_parts`` returned.
        algorithm: the calibrator's algorithm.
        batch: samples per batch of the calibrator.
        samples: the number of samples, a multiple of ``batch``.
        samples_digest: the digest of the samples' own digests, as in ``hil.quantize``.
        data: the blob in the store, by input.
        fed: the SHA-256 of each input's raw bytes in C order.
        synthetic: whether the samples are generated.
    """

    key: str
    parts: Mapping[str, Any]
    algorithm: str
    batch: int
    samples: int
    samples_digest: str
    data: Mapping[str, str]
    fed: Mapping[str, str]
    synthetic: bool

    def option(self) -> dict[str, Any]:
        """Return the build option ``implicit``."""
        return {"algorithm": self.algorithm, "batch": self.batch, "samples": self.samples, "data": dict(self.data)}


def algorithm_of(spec: CalibrationSpec, model: str) -> str:
    """Return TensorRT's name of the calibration method. Raises ``UserError`` if TensorRT does not have the method."""
    if spec.method not in ALGORITHMS:
        raise UserError(
            f"TensorRT has no {spec.method} calibrator: model {model}, calibration.route = 'implicit': "
            f"write method = {' or '.join(repr(one) for one in ALGORITHMS)}, or route = 'explicit'"
        )
    return ALGORITHMS[spec.method]


def key_parts(model: Path, data: Dataset, spec: CalibrationSpec) -> dict[str, Any]:
    """Return what the INT8 ranges depend on, except TensorRT's version and the GPU, which are in the engine's facts."""
    return {
        "route": "implicit",
        "model": file_digest(model),
        "data": data.digest,
        "preprocess": data.provenance.get("preprocess_digest", ""),
        "method": spec.method,
        "samples": spec.samples or data.count,
        "options": OPTIONS_VERSION,
    }


def stream(  # noqa: PLR0913 - a session's facts of a model, each named at the call
    agent: AgentClient,
    *,
    path: Path,
    name: str,
    signature: Signature,
    data: Dataset,
    spec: CalibrationSpec,
    cache: Path,
    narrow: bool = True,
) -> Streamed:
    """Upload the samples to the target's store for TensorRT's calibrator.

    ``path`` is the ONNX file, ``name`` the name of the model, and ``cache`` the folder for temporary files. With
    ``narrow``, int64 becomes int32, as TensorRT before 10 requires. Raise ``UserError`` for a method, an input or
    samples that the calibrator does not support, or if ``cache`` cannot be written; ``LabError`` if the store is full.
    """
    algorithm, parts = algorithm_of(spec, name), key_parts(path, data, spec)
    odd = [one.name for one in signature.inputs if one.batch_axis != 0 or one.is_given]
    if odd:
        raise UserError(
            f"TensorRT's calibrator needs samples along the first axis of each input, which hil.toml does not declare "
            f"for {', '.join(odd)}: model {name}: write calibration.route = 'explicit'"
        )
    samples = int(parts["samples"])
    if samples > data.count:
        raise UserError(
            f"calibration of model {name} asks for {samples} samples, but {data.name} has {data.count}: "
            "lower calibration.samples or provide more data"
        )
    batch = data.stride or divisor(samples)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".calibration-", dir=cache) as folder:
            writer = Writer(Path(folder), samples, name, narrow=narrow)
            for one in data.batches(batch, samples):
                writer.write(one.inputs)
            files = writer.finish()
            blobs = {each: agent.put_blob(file) for each, file in files.items()}
    except OSError as error:
        why = error.strerror or error
        raise UserError(
            f"cannot write the calibration data of {name} to {cache} ({why}): free space there, or make it writable"
        ) from None
    return Streamed(
        key=digest_of(parts),
        parts=parts,
        algorithm=algorithm,
        batch=batch,
        samples=writer.rows,
        samples_digest=writer.samples.hexdigest(),
        data=blobs,
        fed=writer.fed(),
        synthetic=data.synthetic,
    )


def divisor(samples: int, most: int = MAX_BATCH) -> int:
    """Return the largest batch size up to ``most`` that divides ``samples``, so that no sample is dropped."""
    return next(size for size in range(min(most, samples), 0, -1) if samples % size == 0)


class Writer:
    """Writes one ``.npy`` file for each input, batch by batch, counting the samples and computing their digest."""

    def __init__(self, folder: Path, samples: int, model: str, *, narrow: bool = True) -> None:
        """Prepare to write ``samples`` rows in total to files in ``folder``; with ``narrow``, int64 becomes int32."""
        self.rows = 0
        self.samples = hashlib.sha256()
        self._folder, self._declared, self._model, self._narrow = folder, samples, model, narrow
        self._maps: dict[str, np.memmap[Any, Any]] = {}
        self._fed: dict[str, Any] = {}

    def write(self, inputs: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Write the next rows.

        Raises ``UserError`` for NaN, for infinity, and for int64 values that do not fit int32 if they are narrowed.
        """
        from hil.datasets.dataset import sample_digest

        count = len(next(iter(inputs.values())))
        for row in range(count):
            self.samples.update(sample_digest(inputs, row).hex().encode())
        for name, array in inputs.items():
            ready = np.ascontiguousarray(self._checked(name, array))
            if name not in self._maps:
                self._open(name, ready)
            self._maps[name][self.rows : self.rows + count] = ready
            self._fed[name].update(ready.data)
        self.rows += count

    def _open(self, name: str, first: np.ndarray[Any, Any]) -> None:
        shape = (self._declared, *first.shape[1:])
        path = self._folder / f"{len(self._maps)}.npy"
        self._maps[name] = np.lib.format.open_memmap(str(path), "w+", first.dtype, shape)
        self._fed[name] = hashlib.sha256()

    def _checked(self, name: str, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if not is_finite(array).all():
            raise UserError(
                f"calibration data holds NaN or infinity near sample {self.rows}: "
                f"model {self._model}, input {name!r}: fix or remove those samples"
            )
        if array.dtype != np.int64 or not self._narrow:
            return array
        bounds = np.iinfo(np.int32)
        if array.size and not bounds.min <= int(array.min()) <= int(array.max()) <= bounds.max:
            raise UserError(
                f"calibration data near sample {self.rows} does not fit int32, which TensorRT uses instead of int64: "
                f"model {self._model}, input {name!r}: fix or remove those samples"
            )
        return array.astype(np.int32)

    def finish(self) -> dict[str, Path]:
        """Return the file of each input by name. Raises ``UserError`` if fewer rows were written than declared."""
        if self.rows != self._declared or not self._maps:
            raise UserError(
                f"calibration data has only {self.rows} of {self._declared} samples: model {self._model}: "
                "provide as many samples as calibration.samples requests"
            )
        files = {}
        for number, (name, array) in enumerate(self._maps.items()):
            array.flush()
            files[name] = self._folder / f"{number}.npy"
        return files

    def fed(self) -> dict[str, str]:
        """Return the SHA-256 of each input's raw bytes in C order, without the header of the file."""
        return {name: state.hexdigest() for name, state in self._fed.items()}


def expected_header(algorithm: str) -> str:
    """Return the calibrator's name as TensorRT writes it in the first line of a cache (``EntropyCalibration2``)."""
    return {"entropy2": "EntropyCalibration2", "minmax": "MinMaxCalibration"}[algorithm]


def header_versions(version: str) -> tuple[str, ...]:
    """Return the two numbers, as text, by which a cache may name TensorRT's ``version``, such as ``10.3.0``.

    The result is empty unless ``version`` has three numbers.

    For example 8600 for 8.6.0 and 100300 for 10.3.0 (NV_TENSORRT_VERSION of NvInferVersion.h).
    """
    parts = version.split(".")[:3]
    if len(parts) != 3 or not all(part.isdigit() for part in parts):  # major, minor, patch
        return ()
    major, minor, patch = map(int, parts)
    return tuple(str(major * unit + minor * 100 + patch) for unit in (1000, 10_000))


def float_inputs(signature: Signature) -> Iterator[str]:
    """Return the names of the inputs that must have an INT8 range: those of a float type."""
    return (one.name for one in signature.inputs if one.dtype in {"float16", "float32", "float64"})
