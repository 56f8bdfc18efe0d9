"""The driver's functions that the agent calls, bound once with their exact argument types.

Source of the signatures: cuda.h, CUDA 10.2 to 13. Messages use the header's names, without suffix.
"""

import ctypes
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_size_t, c_uint, c_uint64, c_void_p
from typing import Any, Dict, Tuple

from ...failure import UNSUPPORTED, Failure
from .error_codes import CudaError, description, unusable

LIBRARY = "libcuda.so.1"

_OUT = POINTER(c_void_p)
_INT = POINTER(c_int)
_SIZE = POINTER(c_size_t)
SIGNATURES: Dict[str, Tuple[Tuple[str, ...], Tuple[Any, ...]]] = {
    "cuInit": (("cuInit",), (c_uint,)),
    "cuDriverGetVersion": (("cuDriverGetVersion",), (_INT,)),
    "cuGetErrorName": (("cuGetErrorName",), (c_int, POINTER(c_char_p))),
    "cuGetErrorString": (("cuGetErrorString",), (c_int, POINTER(c_char_p))),
    "cuDeviceGet": (("cuDeviceGet",), (_INT, c_int)),
    "cuDeviceGetCount": (("cuDeviceGetCount",), (_INT,)),
    "cuDeviceGetName": (("cuDeviceGetName",), (c_char_p, c_int, c_int)),
    "cuDeviceGetAttribute": (("cuDeviceGetAttribute",), (_INT, c_int, c_int)),
    "cuDeviceGetPCIBusId": (("cuDeviceGetPCIBusId",), (c_char_p, c_int, c_int)),
    "cuDevicePrimaryCtxRetain": (("cuDevicePrimaryCtxRetain",), (_OUT, c_int)),
    "cuDevicePrimaryCtxRelease": (("cuDevicePrimaryCtxRelease_v2", "cuDevicePrimaryCtxRelease"), (c_int,)),
    "cuCtxPushCurrent": (("cuCtxPushCurrent_v2",), (c_void_p,)),
    "cuCtxPopCurrent": (("cuCtxPopCurrent_v2",), (_OUT,)),
    "cuCtxGetCurrent": (("cuCtxGetCurrent",), (_OUT,)),
    "cuCtxSynchronize": (("cuCtxSynchronize",), ()),
    "cuMemGetInfo": (("cuMemGetInfo_v2",), (_SIZE, _SIZE)),
    "cuMemAlloc": (("cuMemAlloc_v2",), (POINTER(c_uint64), c_size_t)),
    "cuMemFree": (("cuMemFree_v2",), (c_uint64,)),
    "cuMemHostAlloc": (("cuMemHostAlloc",), (_OUT, c_size_t, c_uint)),
    "cuMemFreeHost": (("cuMemFreeHost",), (c_void_p,)),
    "cuMemcpyHtoDAsync": (("cuMemcpyHtoDAsync_v2",), (c_uint64, c_void_p, c_size_t, c_void_p)),
    "cuMemcpyDtoHAsync": (("cuMemcpyDtoHAsync_v2",), (c_void_p, c_uint64, c_size_t, c_void_p)),
    "cuMemcpyDtoDAsync": (("cuMemcpyDtoDAsync_v2",), (c_uint64, c_uint64, c_size_t, c_void_p)),
    "cuStreamCreate": (("cuStreamCreate",), (_OUT, c_uint)),
    "cuStreamSynchronize": (("cuStreamSynchronize",), (c_void_p,)),
    "cuStreamDestroy": (("cuStreamDestroy_v2",), (c_void_p,)),
    "cuEventCreate": (("cuEventCreate",), (_OUT, c_uint)),
    "cuEventRecord": (("cuEventRecord",), (c_void_p, c_void_p)),
    "cuEventQuery": (("cuEventQuery",), (c_void_p,)),
    "cuEventSynchronize": (("cuEventSynchronize",), (c_void_p,)),
    "cuEventElapsedTime": (
        ("cuEventElapsedTime_v2", "cuEventElapsedTime"),  # _v2 since CUDA 12.8
        (POINTER(c_float), c_void_p, c_void_p),
    ),
    "cuEventDestroy": (("cuEventDestroy_v2",), (c_void_p,)),
}
OPTIONAL: Dict[str, Tuple[Tuple[str, ...], Tuple[Any, ...]]] = {
    "cuDeviceGetUuid": (("cuDeviceGetUuid_v2", "cuDeviceGetUuid"), (c_char_p, c_int)),
    "cuStreamBeginCapture": (("cuStreamBeginCapture_v2",), (c_void_p, c_uint)),
    "cuStreamEndCapture": (("cuStreamEndCapture",), (c_void_p, _OUT)),
    "cuGraphInstantiateWithFlags": (("cuGraphInstantiateWithFlags",), (_OUT, c_void_p, c_uint64)),  # 11.4 on
    "cuGraphInstantiate": (  # this symbol has the same arguments in every version
        ("cuGraphInstantiate_v2", "cuGraphInstantiate"),
        (_OUT, c_void_p, _OUT, c_char_p, c_size_t),
    ),
    "cuGraphLaunch": (("cuGraphLaunch",), (c_void_p, c_void_p)),
    "cuGraphExecDestroy": (("cuGraphExecDestroy",), (c_void_p,)),
    "cuGraphDestroy": (("cuGraphDestroy",), (c_void_p,)),
}


class Functions:
    """The functions of one loaded driver library; ``functions["cuMemAlloc"](…)`` returns the error code.

    Raise ``Failure`` if the library lacks a function. If a function of ``OPTIONAL`` is missing, raise only at its use.
    """

    def __init__(self, library: Any) -> None:
        self._functions: Dict[str, Any] = {}
        for table in (SIGNATURES, OPTIONAL):
            for name, (symbols, arguments) in table.items():
                symbol = next((candidate for candidate in symbols if hasattr(library, candidate)), None)
                if symbol is not None:
                    function = getattr(library, symbol)
                    function.argtypes, function.restype = arguments, c_int
                    self._functions[name] = function
        missing = sorted(set(SIGNATURES) - set(self._functions))
        if missing:
            what = "the CUDA driver has no %s" % ", ".join(missing)
            raise Failure(UNSUPPORTED, what, "install a driver of CUDA 10.2 or later")

    def __getitem__(self, name: str) -> Any:
        if name not in self._functions:
            raise Failure(
                UNSUPPORTED, "the CUDA driver has no %s" % name, "leave CUDA graphs off, or update the driver"
            )
        return self._functions[name]

    def has(self, name: str) -> bool:
        """Return whether this driver has the function."""
        return name in self._functions

    def call(self, name: str, *arguments: Any) -> None:
        """Call the function. Raise ``CudaError`` if it fails."""
        code = self[name](*arguments)
        if code:
            raise self.error(name, code)

    def error(self, name: str, code: int) -> CudaError:
        """Return the error for ``code`` returned by the call ``name``."""
        return CudaError(name, code, self.name_of(code), self.text_of(code))

    def name_of(self, code: int) -> str:
        """Return the name of an error code, such as ``CUDA_ERROR_ILLEGAL_ADDRESS`` for 700; else ``CUDA error``."""
        return self._text("cuGetErrorName", code) or "CUDA error"

    def text_of(self, code: int) -> str:
        """Return the driver's text for an error code; empty if the driver has no text."""
        return self._text("cuGetErrorString", code)

    def _text(self, name: str, code: int) -> str:
        text = c_char_p()
        self._functions[name](code, byref(text))
        return (text.value or b"").decode("ascii", "replace")


def load(name: str = LIBRARY) -> Functions:
    """Load and initialize the driver, without creating a context. Raise ``Failure`` if driver or GPU is missing."""
    try:
        library = ctypes.CDLL(name)
    except OSError as error:
        raise unusable("the CUDA driver cannot be loaded (%s)" % error) from None
    functions = Functions(library)
    code = functions["cuInit"](0)
    if code:
        raise unusable("CUDA does not start: %s" % description(code, functions.name_of(code), functions.text_of(code)))
    return functions
