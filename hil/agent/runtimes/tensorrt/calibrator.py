"""The implicit INT8 route: TensorRT's own calibrators, fed in batches, with a check that data or cache were used."""

import hashlib
import json
from typing import Any, Callable, Dict, List, Mapping, Optional

from ...failure import BUILD, UNSUPPORTED, Failure, short
from . import api, digest_file, scales
from .batches import Batches

WAY_OUT = 'set route = "explicit" in [models.M.calibration]: Q/DQ nodes work with every version'


class Calibration:
    """A calibrator's logic without TensorRT: it provides batches and a cache, and receives the new cache.

    ``path`` is the file of the cache (None: no cache is kept). ``send`` copies one batch to the device and returns the
    addresses in the order of the requested names. ``problem`` is the first failure of a callback; None if none failed.
    """

    def __init__(
        self,
        algorithm: str,
        batches: Batches,
        path: Optional[str],
        send: Callable[[Mapping[str, Any], List[str]], List[int]],
    ) -> None:
        self.algorithm = algorithm
        self.batches = batches
        self.problem: Optional[Failure] = None
        self.warnings: List[str] = []
        self._path = path
        self._send = send
        self._cached_source: Dict[str, Any] = {}
        self._offered = self._read_cache_file()
        self._cache_read = False
        self._written: Optional[bytes] = None

    def _read_cache_file(self) -> Optional[bytes]:
        """Return the cache of an earlier build; None if there is no cache, or if it is damaged.

        This also sets ``_cached_source``, the description of that build's data.
        """
        try:
            content = digest_file.read(self._path)
        except ValueError:
            content = b""
        if content is None:
            return None
        note, _, cache = content.partition(b"\n")
        source = _parsed_source(note)
        if source is None or scales.misfit(cache, self.algorithm):
            self.warnings.append("the calibration cache of an earlier build is damaged and not used")
            return None
        self._cached_source = source
        return cache

    def batch_size(self) -> int:
        """Return the batch size, which TensorRT uses only for implicit batch dimensions."""
        return self.batches.batch

    def get_batch(self, names: List[str]) -> Optional[List[int]]:
        """Return device addresses of the next batch in the order of ``names``; None at the end or after a failure."""
        if self.problem is not None:
            return None
        try:
            unknown = sorted(set(names) ^ set(self.batches.specs))
            if unknown:
                what = "TensorRT requests calibration data for %s, not for the inputs" % list(names)
                raise Failure(BUILD, what, WAY_OUT)  # noqa: TRY301 - kept as any other failure here
            batch = self.batches.take()
            return self._send(batch, list(names)) if batch else None
        except Failure as problem:
            self.problem = problem
        except Exception as error:  # noqa: BLE001 - native code is the caller and would only print it
            what = "calibration failed: %s: %s" % (type(error).__name__, short(error, 500))
            self.problem = Failure(BUILD, what, "report this as a bug, with the report's log")
        return None

    def read_cache(self) -> Optional[bytes]:
        """Return the cache that an earlier build left in the same file; None if there is no usable cache."""
        self._cache_read = True
        return self._offered

    def write_cache(self, cache: Any) -> None:
        """Copy the cache that TensorRT wrote."""
        self._written = bytes(cache)

    def finish(self) -> Dict[str, Any]:
        """Save the cache and return the facts of a finished build.

        Their ``samples`` and ``consumed`` describe the data behind the scales. Raise ``Failure`` if a callback failed,
        TensorRT used neither the cache nor all of the data, or the new cache is invalid.
        """
        if self.problem is not None:
            raise self.problem
        state = self._state()
        cache = self._offered if state == "read" else self._written
        if cache is None:
            what = "TensorRT calibrated and wrote no scales of %s" % scales.NAMES[self.algorithm]
            raise Failure(BUILD, what, WAY_OUT)
        defect = scales.misfit(cache, self.algorithm)
        if defect:
            what = "TensorRT calibrated by %s and wrote a cache %s" % (scales.NAMES[self.algorithm], defect)
            raise Failure(BUILD, what, WAY_OUT)
        source = self._cached_source
        if state != "read":
            source = {"samples": self.batches.returned * self.batches.batch, "consumed": dict(self.batches.consumed)}
            digest_file.write(self._path, json.dumps(source, sort_keys=True).encode() + b"\n" + cache)
        decoded = scales.decode(cache)
        left_out = len(decoded.by_tensor) - len(scales.bounded(decoded.by_tensor))
        if left_out:
            self.warnings.append("%d of %d scales are not in the record" % (left_out, len(decoded.by_tensor)))
        return {
            "algorithm": self.algorithm,
            "cache": state,
            "digest": hashlib.sha256(cache).hexdigest(),
            "batches": self.batches.returned,
            "samples": source["samples"],
            "consumed": source["consumed"],
            "header": decoded.header,
            "scales": scales.bounded(decoded.by_tensor),
        }

    def _state(self) -> str:
        """Return what TensorRT did with the cache: ``read``, ``written``, or ``ignored`` (it calibrated nevertheless).

        Raise ``Failure`` if TensorRT used neither the cache nor all of the data.
        """
        requested, count = self.batches.returned, self.batches.count
        if not requested and self._offered is not None and self._cache_read:
            return "read"
        if not requested:
            what = "TensorRT built an int8 engine without asking for calibration data"
            raise Failure(BUILD, what + ", so none of it would be calibrated", WAY_OUT)
        if requested < count:
            what = "TensorRT requested %d of %d calibration batches" % (requested, count)
            raise Failure(BUILD, what, "read in TensorRT's log why it stopped")
        return "written" if self._offered is None else "ignored"


def _parsed_source(note: bytes) -> Optional[Dict[str, Any]]:
    """Return the description of the consumed data in ``note``, a cache file's first line; None if it is malformed."""
    try:
        fields = json.loads(note.decode("utf-8"))
        source = {"samples": int(fields["samples"]), "consumed": dict(fields["consumed"])}
    except (ValueError, KeyError, TypeError):
        return None
    return source if source["samples"] > 0 and source["consumed"] else None


def calibrator(trt: Any, calibration: Calibration) -> Any:
    """Return TensorRT's calibrator object for ``calibration``. Raise ``Failure`` if this version has no calibrators."""
    base = base_class(trt, calibration.algorithm)

    class Calibrator(base):  # type: ignore[misc]  # a class of a module that is known only at run time
        """Forwards TensorRT's calls to ``calibration``."""

        def __init__(self) -> None:
            base.__init__(self)  # pybind11 requires the base's constructor to be called by name

        def get_batch_size(self) -> int:
            return calibration.batch_size()

        def get_batch(self, names: List[str], *_: Any) -> Optional[List[int]]:
            return calibration.get_batch(names)

        def read_calibration_cache(self, *_: Any) -> Optional[bytes]:
            return calibration.read_cache()

        def write_calibration_cache(self, cache: Any, *_: Any) -> None:
            calibration.write_cache(cache)

    return Calibrator()


def base_class(trt: Any, algorithm: str) -> Any:
    """Return TensorRT's class for a calibrator by ``algorithm``. Raise ``Failure`` if this TensorRT lacks it."""
    if algorithm not in api.CALIBRATORS:
        raise Failure(UNSUPPORTED, "TensorRT has no calibration algorithm %r" % algorithm, "use entropy2 or minmax")
    base = api.calibrator_class(trt, algorithm)
    if base is None:
        raise Failure(UNSUPPORTED, "this TensorRT has no calibrators (the implicit INT8 route)", WAY_OUT)
    return base
