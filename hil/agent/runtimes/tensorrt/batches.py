"""Calibration data in batches, from memory-mapped ``.npy`` files."""

import hashlib
from typing import Any, Dict, List, Mapping, NamedTuple, Tuple

from ...failure import BUILD, Failure, short

ADVICE = "check calibration in [models.M]"


class InputSpec(NamedTuple):
    """What the network expects of an input: numpy's ``dtype`` and the shape, -1 if dynamic."""

    dtype: str
    shape: Tuple[int, ...]


class Batches:
    """``samples`` samples of every input in batches of ``batch``; each file has shape ``(samples, …)``.

    ``files`` and ``specs`` are by input. int64 data becomes int32 if the network's input is int32. Raise ``Failure`` if
    a file cannot be read or does not fit its input, or if the samples do not make whole batches.
    """

    def __init__(self, files: Mapping[str, str], specs: Mapping[str, InputSpec], batch: int, samples: int) -> None:
        import numpy as np

        if set(files) != set(specs):
            what = "calibration data is for inputs %s, but the network has %s" % (sorted(files), sorted(specs))
            raise Failure(BUILD, what, ADVICE)
        if batch < 1 or samples < 1 or samples % batch:
            what = "%d calibration samples do not make whole batches of %d" % (samples, batch)
            raise Failure(BUILD, what, "give a positive multiple of the batch as calibration.samples")
        self.batch = batch
        self.count = samples // batch
        self.returned = 0
        self.specs = specs
        self._hashes = {name: hashlib.sha256() for name in files}
        self._arrays: Dict[str, Any] = {}
        for name, path in files.items():
            try:
                array = np.load(path, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError) as error:
                what = "calibration data of %r cannot be read: %s" % (name, short(error, 300))
                raise Failure(BUILD, what, "run again; if it fails again, report this as a bug") from None
            _check(name, array, specs[name], batch, samples)
            self._arrays[name] = array

    @property
    def shapes(self) -> Dict[str, List[int]]:
        """The shape of each input's whole data, ``(samples, …)``."""
        return {name: list(array.shape) for name, array in self._arrays.items()}

    def nbytes(self, name: str) -> int:
        """Return the number of bytes of one batch of input ``name`` in the network's dtype."""
        import numpy as np

        array = self._arrays[name]
        return int(array[: self.batch].size) * int(np.dtype(self.specs[name].dtype).itemsize)

    def take(self) -> Dict[str, Any]:
        """Return the next batch, a contiguous array by input; an empty dict after the last batch.

        Raise ``Failure`` for NaN, infinity, and an int64 value outside int32 if the network's input is int32.
        """
        import numpy as np

        if self.returned == self.count:
            return {}
        start = self.returned * self.batch
        batch = {}
        for name, array in sorted(self._arrays.items()):
            piece = np.ascontiguousarray(array[start : start + self.batch])
            if piece.dtype.kind == "f" and not np.isfinite(piece).all():
                what = "calibration data of %r has NaN or infinity in samples %d to %d"
                raise Failure(BUILD, what % (name, start, start + self.batch - 1), ADVICE)
            self._hashes[name].update(piece.reshape(-1).view(np.uint8).data)
            batch[name] = _narrow(name, piece, self.specs[name].dtype)
        self.returned += 1
        return batch

    @property
    def consumed(self) -> Dict[str, str]:
        """SHA-256 by input of the raw bytes returned so far, in the file's own dtype."""
        return {name: hasher.hexdigest() for name, hasher in sorted(self._hashes.items())}


def _check(name: str, array: Any, spec: InputSpec, batch: int, samples: int) -> None:
    narrowed = array.dtype.name == "int64" and spec.dtype == "int32"
    if array.dtype.name != spec.dtype and not narrowed:
        what = "calibration data of %r has dtype %s, but the network takes %s" % (name, array.dtype.name, spec.dtype)
        raise Failure(BUILD, what, ADVICE)
    if not array.dtype.isnative or not array.flags.c_contiguous:
        raise Failure(BUILD, "calibration data of %r is byte-swapped or in Fortran order" % name, "save it in C order")
    fits = (
        array.ndim == len(spec.shape) and array.ndim > 0 and array.shape[0] == samples and spec.shape[0] in (-1, batch)
    )
    if fits:
        fits = all(dim in (-1, length) for dim, length in zip(spec.shape[1:], array.shape[1:]))
    if not fits:
        what = "calibration data of %r has shape %s in batches of %d, but the network takes %s and samples is %d"
        facts = (name, list(array.shape), batch, list(spec.shape), samples)
        raise Failure(BUILD, what % facts, "for a network with a fixed batch, set calibration.batch to that batch")


def _narrow(name: str, piece: Any, dtype: str) -> Any:
    import numpy as np

    if piece.dtype.name == dtype:
        return piece
    limits = np.iinfo(dtype)
    if piece.size and (piece.min() < limits.min or piece.max() > limits.max):
        what = "calibration data of %r has values outside %s, to which TensorRT converts int64" % (name, dtype)
        raise Failure(BUILD, what, ADVICE)
    return piece.astype(dtype)
