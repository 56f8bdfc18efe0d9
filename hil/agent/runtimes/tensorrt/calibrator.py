"""The implicit INT8 route: TensorRT's own calibrators, fed in batches, with a cache that is seen to be used."""

import hashlib
import json
from typing import Any, Callable, Dict, List, Mapping, Optional

from ...failure import BUILD, UNSUPPORTED, Failure, short
from . import api, digest_file, scales
from .batches import Batches

WAY_OUT = 'set route = "explicit" in [models.M.calibration]: Q/DQ nodes work with every version'


class Calibration:
    """What a calibrator is asked, without TensorRT: batches, the cache offered, the cache written.

    ``send`` brings one batch to the device and returns the addresses in the order of the names asked for.
    An exception inside one of TensorRT's callbacks is printed and forgotten, so the first is kept as ``problem``.
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
        self._kept_fed: Dict[str, Any] = {}
        self._offered = self._kept()
        self._asked_cache = False
        self._written: Optional[bytes] = None

    def _kept(self) -> Optional[bytes]:
        """The cache of an earlier build, with what that build fed (``_kept_fed``); None where either is not whole."""
        try:
            content = digest_file.read(self._path)
        except ValueError:
            content = b""
        if content is None:
            return None
        note, _, cache = content.partition(b"\n")
        fed = _fed(note)
        if fed is None or scales.misfit(cache, self.algorithm):
            self.warnings.append("the calibration cache of an earlier build is damaged and not used")
            return None
        self._kept_fed = fed
        return cache

    def batch_size(self) -> int:
        """Of interest to TensorRT for implicit batch dimensions alone."""
        return self.batches.batch

    def get_batch(self, names: List[str]) -> Optional[List[int]]:
        """Device addresses of the next batch in the order of ``names``; None after the last, or after a failure."""
        if self.problem is not None:
            return None
        try:
            unknown = sorted(set(names) ^ set(self.batches.wanted))
            if unknown:
                raise Failure(BUILD, "TensorRT asks calibration data for %s, not for its inputs" % list(names))  # noqa: TRY301 - kept as any other failure here
            batch = self.batches.take()
            return self._send(batch, list(names)) if batch else None
        except Failure as problem:
            self.problem = problem
        except Exception as error:  # noqa: BLE001 - native code is the caller and would only print it
            self.problem = Failure(BUILD, "calibration failed: %s: %s" % (type(error).__name__, short(error, 500)))
        return None

    def read_cache(self) -> Optional[bytes]:
        """The cache of an earlier build of the same question, None where there is none."""
        self._asked_cache = True
        return self._offered

    def write_cache(self, cache: Any) -> None:
        """Copies what TensorRT wrote; its memory is gone when this returns."""
        self._written = bytes(cache)

    def finish(self) -> Dict[str, Any]:
        """Facts of a finished build; keeps the cache. Raises ``Failure`` unless data or cache are seen to count.

        ``samples`` and ``consumed`` are what was fed: by this build or, of a cache that was read, by its writer.
        """
        if self.problem is not None:
            raise self.problem
        state = self._state()
        cache = self._offered if state == "read" else self._written
        if cache is None:
            raise Failure(BUILD, "TensorRT calibrated and left no scales of %s" % scales.NAMES[self.algorithm], WAY_OUT)
        why = scales.misfit(cache, self.algorithm)
        if why:
            what = "TensorRT calibrated by %s and left a cache %s" % (scales.NAMES[self.algorithm], why)
            raise Failure(BUILD, what, WAY_OUT)
        fed = self._kept_fed
        if state != "read":
            fed = {"samples": self.batches.given * self.batches.batch, "consumed": dict(self.batches.consumed)}
            digest_file.write(self._path, json.dumps(fed, sort_keys=True).encode() + b"\n" + cache)
        found = scales.decode(cache)
        left_out = len(found.by_tensor) - len(scales.bounded(found.by_tensor))
        if left_out:
            self.warnings.append("%d of %d scales are not in the record" % (left_out, len(found.by_tensor)))
        return {
            "algorithm": self.algorithm,
            "cache": state,
            "digest": hashlib.sha256(cache).hexdigest(),
            "batches": self.batches.given,
            "samples": fed["samples"],
            "consumed": fed["consumed"],
            "header": found.header,
            "scales": scales.bounded(found.by_tensor),
        }

    def _state(self) -> str:
        """``read``: the cache stood for the data; ``written``: there was none; ``ignored``: it was offered in vain."""
        given, count = self.batches.given, self.batches.count
        if not given and self._offered is not None and self._asked_cache:
            return "read"
        if not given:
            what = "TensorRT built an int8 engine without asking for calibration data"
            raise Failure(BUILD, what + ", so nothing of it would be calibrated", WAY_OUT)
        if given < count:
            what = "TensorRT took %d of %d calibration batches" % (given, count)
            raise Failure(BUILD, what, "look into TensorRT's log for why it stopped")
        return "written" if self._offered is None else "ignored"


def _fed(note: bytes) -> Optional[Dict[str, Any]]:
    """What a kept cache says it was drawn from; None where it does not say."""
    try:
        fed = json.loads(note.decode("utf-8"))
        found = {"samples": int(fed["samples"]), "consumed": dict(fed["consumed"])}
    except (ValueError, KeyError, TypeError):
        return None
    return found if found["samples"] > 0 and found["consumed"] else None


def calibrator(trt: Any, calibration: Calibration) -> Any:
    """TensorRT's object for ``calibration``. Raises ``Failure`` where this version has no calibrators."""
    base = base_class(trt, calibration.algorithm)

    class Calibrator(base):  # type: ignore[misc]  # a class of a module that is known only at run time
        """Hands TensorRT's questions on."""

        def __init__(self) -> None:
            base.__init__(self)  # the binding demands it by name

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
    """The class to derive from. Raises ``Failure`` for one this TensorRT has not."""
    if algorithm not in api.CALIBRATORS:
        raise Failure(UNSUPPORTED, "TensorRT has no calibration algorithm %r" % algorithm, "use entropy2 or minmax")
    found = api.calibrator_class(trt, algorithm)
    if found is None:
        raise Failure(UNSUPPORTED, "this TensorRT has no calibrators (the implicit INT8 route)", WAY_OUT)
    return found
