"""Read a GPU's memory by process, clock, temperature and power through NVML; None if unavailable.

NVML creates no CUDA context, so the supervisor may use it. Signatures and codes are those of nvml.h.
"""

import ctypes
import struct
from ctypes import byref, c_char_p, c_int, c_uint, c_uint64, c_void_p
from typing import Any, Dict, List, Mapping, Optional, Tuple

LIBRARY = "libnvidia-ml.so.1"
INSUFFICIENT_SIZE = 7
NOT_AVAILABLE = (1 << 64) - 1  # NVML_VALUE_NOT_AVAILABLE
SM_CLOCK = 1  # NVML_CLOCK_SM
GPU_SENSOR = 0  # NVML_TEMPERATURE_GPU
MOST_PROCESSES = 1 << 14
UUID_DIGITS = 32

# Layouts of nvmlProcessInfo_t by version of the call: pid, padding, bytes, then the MIG instances.
PROCESSES = (
    ("nvmlDeviceGetComputeRunningProcesses_v3", struct.Struct("=I4xQII")),
    ("nvmlDeviceGetComputeRunningProcesses_v2", struct.Struct("=I4xQII")),
    ("nvmlDeviceGetComputeRunningProcesses", struct.Struct("=I4xQ")),
)
THROTTLE = ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons")


def processes_of(raw: bytes, count: int, layout: struct.Struct) -> Dict[int, Optional[int]]:
    """Return bytes of GPU memory by process id; None for a process whose memory NVML does not report.

    ``raw`` has ``count`` entries of ``layout``. Several entries of a process are added.
    """
    used_by_pid: Dict[int, Optional[int]] = {}
    for pid, used in (layout.unpack_from(raw, at * layout.size)[:2] for at in range(count)):
        known = used_by_pid.get(pid, 0)
        used_by_pid[pid] = None if used == NOT_AVAILABLE or known is None else known + used
    return used_by_pid


def uuids(raw: Optional[str]) -> List[str]:
    """Return the possible NVML names of the GPU or MIG instance with CUDA's UUID ``raw``, 32 hex digits.

    Empty if ``raw`` is not a UUID of this form.
    """
    if raw is None or len(raw) != UUID_DIGITS:
        return []
    text = "-".join((raw[:8], raw[8:12], raw[12:16], raw[16:20], raw[20:]))
    return ["GPU-" + text, "MIG-" + text]


class Nvml:
    """One GPU, accessed through NVML."""

    def __init__(self, library: Any, handle: c_void_p) -> None:
        self._library = library
        self._handle = handle
        self._room = 64
        known = [(name, layout) for name, layout in PROCESSES if hasattr(library, name)]
        self._list, self._layout = known[0] if known else ("", PROCESSES[-1][1])

    def _call(self, name: str, *arguments: Any) -> Optional[int]:
        function = getattr(self._library, name, None)
        return None if function is None else int(function(self._handle, *arguments))

    def processes(self) -> Optional[Dict[int, Optional[int]]]:
        """Return the bytes of each process, as ``processes_of`` does; None if NVML does not list them."""
        while self._room <= MOST_PROCESSES:
            count = c_uint(self._room)
            raw = ctypes.create_string_buffer(self._room * self._layout.size)
            code = self._call(self._list, byref(count), raw) if self._list else None
            if code == 0:
                return processes_of(raw.raw, min(count.value, self._room), self._layout)
            if code != INSUFFICIENT_SIZE:
                return None
            self._room = max(2 * self._room, count.value + 16)
        return None

    def memory(self) -> Optional[Tuple[int, int]]:
        """Return used and total bytes of the whole GPU; None if NVML does not report them."""
        read = (c_uint64 * 3)()  # nvmlMemory_t: total, free, used
        if self._call("nvmlDeviceGetMemoryInfo", byref(read)) != 0 or not read[0]:
            return None
        return int(read[2]), int(read[0])

    def _number(self, name: str, *arguments: Any) -> Optional[int]:
        value = c_uint()
        return int(value.value) if self._call(name, *arguments, byref(value)) == 0 else None

    def clock(self) -> Optional[float]:
        """Return the SM clock in Hz; None if NVML does not report it."""
        megahertz = self._number("nvmlDeviceGetClockInfo", SM_CLOCK)
        return None if megahertz is None else megahertz * 1e6

    def temperature(self) -> Optional[float]:
        """Return the GPU's temperature in °C; None if NVML does not report it."""
        degrees = self._number("nvmlDeviceGetTemperature", GPU_SENSOR)
        return None if degrees is None else float(degrees)

    def power(self) -> Optional[float]:
        """Return the power of the whole card in W; None if NVML does not report it."""
        milliwatt = self._number("nvmlDeviceGetPowerUsage")
        return None if milliwatt is None else milliwatt * 1e-3

    def throttle(self) -> Optional[int]:
        """Return NVML's bit mask of reasons for reduced clocks (0: none, 1: the GPU is idle); None if unreported."""
        for name in THROTTLE:
            value = c_uint64()
            if self._call(name, byref(value)) == 0:
                return int(value.value)
        return None


def open_nvml(device: Mapping[str, Any], name: str = LIBRARY) -> Optional[Nvml]:
    """Return the GPU that CUDA describes as ``device`` (``number``, ``uuid``, ``pci``).

    Return None if NVML cannot be loaded or does not find the GPU.
    """
    try:
        library = ctypes.CDLL(name)
    except OSError:
        return None
    if not hasattr(library, "nvmlInit_v2") or library.nvmlInit_v2() != 0:
        return None
    # NVML counts all GPUs, regardless of CUDA_VISIBLE_DEVICES, so the number is the last resort.
    for symbol, types, argument in _lookups(device):
        function = getattr(library, symbol, None)
        handle = c_void_p()
        if function is None:
            continue
        function.argtypes = (types, ctypes.POINTER(c_void_p))
        if function(argument, byref(handle)) == 0:
            return Nvml(_typed(library), handle)
    return None


def _lookups(device: Mapping[str, Any]) -> List[Tuple[str, Any, Any]]:
    pci = device.get("pci")
    lookups: List[Tuple[str, Any, Any]] = [
        ("nvmlDeviceGetHandleByUUID", c_char_p, text.encode()) for text in uuids(device.get("uuid"))
    ]
    if pci:
        lookups.append(("nvmlDeviceGetHandleByPciBusId_v2", c_char_p, str(pci).encode()))
    return lookups or [("nvmlDeviceGetHandleByIndex_v2", c_uint, int(device["number"]))]


def _typed(library: Any) -> Any:
    """Set the functions' argument types, and return ``library``."""
    number = ctypes.POINTER(c_uint)
    types: Dict[str, Tuple[Any, ...]] = {
        "nvmlDeviceGetMemoryInfo": (c_void_p, c_void_p),
        "nvmlDeviceGetClockInfo": (c_void_p, c_int, number),
        "nvmlDeviceGetTemperature": (c_void_p, c_int, number),
        "nvmlDeviceGetPowerUsage": (c_void_p, number),
    }
    types.update((name, (c_void_p, number, c_void_p)) for name, _ in PROCESSES)
    types.update((name, (c_void_p, ctypes.POINTER(c_uint64))) for name in THROTTLE)
    for name, arguments in types.items():
        if hasattr(library, name):
            getattr(library, name).argtypes = arguments
    return library
