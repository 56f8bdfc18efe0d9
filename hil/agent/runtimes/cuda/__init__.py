"""A narrow binding of CUDA: buffers, copies, streams, events, graphs; through pycuda or ctypes."""

from typing import Any, Dict, List

from ...failure import UNSUPPORTED, Failure, short
from .cuda_interface import Cuda, DeviceBuffer, Event, Graph, PinnedBuffer, Stream
from .device import devices as _devices
from .device import identify
from .error_codes import CudaError
from .functions import LIBRARY, load

__all__ = [
    "Cuda",
    "CudaError",
    "DeviceBuffer",
    "Event",
    "Graph",
    "PinnedBuffer",
    "Stream",
    "open_cuda",
    "visible_devices",
]

BINDINGS = ("auto", "pycuda", "ctypes")


def open_cuda(device: int = 0, binding: str = "auto", library: str = LIBRARY) -> Cuda:
    """Return the primary context of GPU ``device`` (its number among the visible GPUs), made current.

    ``binding`` is ``pycuda``, ``ctypes`` or ``auto``: pycuda if it can be used, else ctypes. ``library`` is the
    driver's file. Raise ``Failure`` (unsupported) if driver, GPU or binding is unavailable, ``CudaError`` if the
    context cannot be created.
    """
    if binding not in BINDINGS:
        raise Failure(UNSUPPORTED, "cuda = %r is not a binding" % binding, "set it to one of " + ", ".join(BINDINGS))
    functions = load(library)
    gpu = identify(functions, device)
    if binding != "ctypes":
        pycuda, reason = _pycuda()
        if pycuda is not None:
            from .pycuda_ import PyCuda

            return PyCuda(functions, gpu, pycuda)
        if binding == "pycuda":
            what = "pycuda was requested and cannot be used: %s" % reason
            raise Failure(UNSUPPORTED, what, "install pycuda for the target's python, or set cuda to ctypes")
    from .driver import DriverCuda

    return DriverCuda(functions, gpu)


def visible_devices(library: str = LIBRARY) -> List[Dict[str, Any]]:
    """Return the fields of ``device.Device`` for each visible GPU, without creating a context.

    Raise ``Failure`` if CUDA cannot be used.
    """
    return _devices(load(library))


def _pycuda() -> Any:
    """Return ``(pycuda.driver, "")``, or ``(None, reason)`` if pycuda cannot be used."""
    try:
        from pycuda import driver
    except Exception as error:  # noqa: BLE001 - a build for another numpy or CUDA raises more than ImportError
        return None, "%s: %s" % (type(error).__name__, short(error, 300))
    if not hasattr(driver.Device, "retain_primary_context"):
        return None, "this pycuda cannot retain the primary context"
    return driver, ""
