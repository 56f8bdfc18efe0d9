"""What an engine depends on beside TensorRT's version: driver, GPU, its architecture, DLA cores."""

from typing import Any, Dict, Optional

from ...failure import Failure


def of_gpu(trt: Any, device: int = 0) -> Dict[str, Optional[str]]:
    """``cuda`` (the driver's), ``gpu``, ``sm``, ``sms``, ``dla``; where CUDA is not to be had, ``reason`` alone."""
    from ..cuda import open_cuda

    try:
        cuda = open_cuda(device)
    except Failure as problem:
        return {"reason": problem.message}
    try:
        return {
            "cuda": cuda.driver,
            "gpu": cuda.name,
            "sm": cuda.sm,
            "sms": str(cuda.sms),
            "dla": str(_dla_cores(trt)) if cuda.integrated else "0",
        }
    finally:
        cuda.close()


def _dla_cores(trt: Any) -> int:
    """Asked of a ``Runtime``, which is made much sooner than a ``Builder``; a card in a slot has none."""
    from . import log

    try:
        return int(trt.Runtime(log.of(trt)).num_DLA_cores)
    except TypeError:  # what pybind11 makes of a constructor that returned nothing
        return 0
