"""What an engine depends on beside TensorRT's version: driver, GPU, its architecture, DLA cores."""

from typing import Any, Dict, Optional

from ...failure import Failure


def of_gpu(trt: Any, device: int = 0) -> Dict[str, Optional[str]]:
    """``cuda`` (the driver's), ``gpu``, ``sm``, ``sms``, ``dla``; where CUDA is not to be had, ``reason`` alone."""
    from ..cuda import visible_devices

    try:
        devices = visible_devices()
    except Failure as problem:
        return {"reason": problem.message}
    if device >= len(devices):
        return {"reason": "there is no GPU %d" % device}
    found = devices[device]
    return {
        "cuda": found["driver"],
        "gpu": found["name"],
        "sm": found["sm"],
        "sms": str(found["sms"]),
        "dla": str(_dla_cores(trt)) if found["integrated"] else "0",
    }


def _dla_cores(trt: Any) -> int:
    """Asked of a ``Runtime``, which is made much sooner than a ``Builder``; a card in a slot has none."""
    from . import log

    try:
        return int(trt.Runtime(log.of(trt)).num_DLA_cores)
    except TypeError:  # what pybind11 makes of a constructor that returned nothing
        return 0
