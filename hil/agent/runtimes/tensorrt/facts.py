"""Facts that an engine depends on besides TensorRT's version: driver, GPU, its architecture, DLA cores."""

from typing import Any, Dict, Optional

from ...failure import Failure


def of_gpu(trt: Any, device: int = 0) -> Dict[str, Optional[str]]:
    """Return ``cuda`` (the driver's), ``gpu``, ``sm``, ``sms``, ``dla``; only ``reason`` if the GPU is unavailable."""
    from ..cuda import visible_devices

    try:
        devices = visible_devices()
    except Failure as problem:
        return {"reason": problem.message}
    if device >= len(devices):
        return {"reason": "there is no GPU %d" % device}
    gpu = devices[device]
    return {
        "cuda": gpu["driver"],
        "gpu": gpu["name"],
        "sm": gpu["sm"],
        "sms": str(gpu["sms"]),
        "dla": str(_dla_cores(trt)) if gpu["integrated"] else "0",
    }


def _dla_cores(trt: Any) -> int:
    """Return the number of DLA cores, from a ``Runtime``, which starts much faster than a ``Builder``."""
    from . import log

    try:
        return int(trt.Runtime(log.of(trt)).num_DLA_cores)
    except TypeError:  # pybind11 raises it if a constructor returns nothing
        return 0
