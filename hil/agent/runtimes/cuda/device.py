"""The GPUs visible to this process, read without creating a context."""

import os
from ctypes import byref, c_int, create_string_buffer
from typing import Any, Dict, List, NamedTuple, Optional

from .error_codes import unusable
from .functions import Functions

# CUdevice_attribute of cuda.h
MULTIPROCESSORS = 16
INTEGRATED = 18
MAJOR = 75
MINOR = 76


class Device(NamedTuple):
    """A GPU.

    Attributes:
        number: its number among the visible GPUs.
        sm: its architecture, such as ``"8.7"``.
        sms: number of its multiprocessors.
        driver: the driver's CUDA version, such as ``"13.0"``.
        integrated: whether it shares the machine's memory.
        uuid, pci: 32 hex digits, and an address such as ``0000:01:00.0``; None if the driver does not report them.
    """

    number: int
    name: str
    sm: str
    sms: int
    driver: str
    integrated: bool
    uuid: Optional[str]
    pci: Optional[str]


def identify(functions: Functions, number: int) -> Device:
    """Return GPU ``number`` of the GPUs that CUDA_VISIBLE_DEVICES leaves visible. Raise ``Failure`` if it is absent."""
    present = count(functions)
    if not 0 <= number < present:
        limit = os.environ.get("CUDA_VISIBLE_DEVICES")
        setting = "" if limit is None else " (CUDA_VISIBLE_DEVICES is %r)" % limit
        known = "GPU 0 is" if present == 1 else "GPUs 0 to %d are" % (present - 1) if present else "no GPU is"
        raise unusable("there is no GPU %d: %s visible%s" % (number, known, setting))
    handle = _integer(functions, "cuDeviceGet", number)
    version = _integer(functions, "cuDriverGetVersion")
    name = create_string_buffer(256)
    functions.call("cuDeviceGetName", name, len(name), handle)
    major, minor = (_attribute(functions, each, handle) for each in (MAJOR, MINOR))
    return Device(
        number=number,
        name=name.value.decode("utf-8", "replace").strip(),
        sm="%d.%d" % (major, minor),
        sms=_attribute(functions, MULTIPROCESSORS, handle),
        driver="%d.%d" % (version // 1000, version % 1000 // 10),
        integrated=bool(_attribute(functions, INTEGRATED, handle)),
        uuid=_uuid(functions, handle),
        pci=_pci(functions, handle),
    )


def count(functions: Functions) -> int:
    """Return the number of visible GPUs."""
    return _integer(functions, "cuDeviceGetCount")


def devices(functions: Functions) -> List[Dict[str, Any]]:
    """Return the fields of every visible GPU (``Device``), ordered by number."""
    return [dict(identify(functions, number)._asdict()) for number in range(count(functions))]


def _integer(functions: Functions, name: str, *arguments: Any) -> int:
    value = c_int()
    functions.call(name, byref(value), *arguments)
    return value.value


def _attribute(functions: Functions, which: int, handle: int) -> int:
    return _integer(functions, "cuDeviceGetAttribute", which, handle)


def _uuid(functions: Functions, handle: int) -> Optional[str]:
    if not functions.has("cuDeviceGetUuid"):
        return None
    raw = create_string_buffer(16)
    return None if functions["cuDeviceGetUuid"](raw, handle) else raw.raw.hex()


def _pci(functions: Functions, handle: int) -> Optional[str]:
    text = create_string_buffer(32)
    return None if functions["cuDeviceGetPCIBusId"](text, len(text), handle) else text.value.decode("ascii", "replace")
