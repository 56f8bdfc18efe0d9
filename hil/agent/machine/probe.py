"""What machine this is and what it has; a fact that cannot be read is None, never zero."""

import glob
import os
import platform
from typing import Any, Dict, Optional

from ..jetson import board_facts
from . import library_versions, process_memory


def _text(path: str) -> Optional[str]:
    try:
        with open(path, "rb") as file:
            return file.read(1 << 16).decode("utf-8", "replace").strip("\0\n ")
    except OSError:
        return None


def _cpu_model() -> Optional[str]:
    """``model name`` on x86; Arm kernels give no name, so the board's own or implementer and part."""
    for line in (_text("/proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model"):
            return value.strip()
    return _text("/proc/device-tree/model") or _text("/sys/firmware/devicetree/base/model")


def _clocks() -> Dict[str, Any]:
    """Governor and limits in Hz of each cpufreq policy; empty where the kernel shows none."""
    found = {}
    for folder in sorted(glob.glob("/sys/devices/system/cpu/cpufreq/policy*")):
        least, most = _text(folder + "/scaling_min_freq"), _text(folder + "/scaling_max_freq")
        found[os.path.basename(folder)] = {
            "governor": _text(folder + "/scaling_governor"),
            "min": int(least) * 1000 if least and least.isdigit() else None,
            "max": int(most) * 1000 if most and most.isdigit() else None,
        }
    return found


def _libc() -> Optional[str]:
    return " ".join(platform.libc_ver()) or None


def machine() -> Dict[str, Any]:
    """Facts from the standard library and /proc alone; sizes in bytes, clocks in Hz."""
    return {
        "machine": platform.machine(),
        "hostname": platform.node(),
        "kernel": platform.release(),
        "system": platform.system(),
        "libc": _libc(),
        "cpu_model": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory": process_memory.machine(),
        "python": platform.python_version(),
        "clocks": _clocks(),
        "l4t": _text("/etc/nv_tegra_release"),
        "device_tree": _text("/proc/device-tree/model") or _text("/sys/firmware/devicetree/base/model"),
    }


def whole(libraries: Dict[str, Any]) -> Dict[str, Any]:
    """Everything that is known of this machine; ``libraries`` as a worker read them (``libraries``)."""
    facts = dict(machine(), **libraries)
    found, asked = board_facts.facts(), facts.pop("native", None) or {}
    found.update((name, asked.get(name)) for name in ("libraries", "cuinit"))
    found["not_readable"].update(asked.get("not_readable") or {})
    return dict(facts, board=found)


def libraries() -> Dict[str, Any]:
    """Versions of numpy and of each runtime, and each runtime's own facts; imports them, so a worker asks.

    ``native`` is what the libraries say of themselves, asked in a process that may crash or hang by itself.
    """
    from ..runtimes import TABLE, runtime

    asked = library_versions.LibraryProbe()
    try:
        import numpy as np

        version: Optional[str] = np.__version__
    except ImportError:
        version = None
    runtimes, facts = {}, {}
    for name in sorted(TABLE):
        driver = runtime(name)
        runtimes[name] = driver.version()
        facts[name] = driver.facts()
    found: Dict[str, Any] = {"numpy": version, "runtimes": runtimes, "facts": facts, "native": _native(asked)}
    found.update(python=platform.python_version(), libc=_libc())  # the worker's own: a container has others
    if any(known.get("gpu") for known in facts.values()):
        found["gpus"] = gpus()
    return found


def _native(asked: library_versions.LibraryProbe) -> Dict[str, Any]:
    answers, why = asked.answers()
    # The one that this process has loaded is the one that TensorRT runs with, wherever it was found.
    version = library_versions.loaded()
    if version is not None:
        answers["nvinfer"] = version
        why.pop("nvinfer", None)
    libraries = {name: answers[name] for name in ("nvinfer", "cudnn")}
    return {"libraries": libraries, "cuinit": answers["cuinit"], "not_readable": why}


def gpus() -> Any:
    """What CUDA says of each visible GPU (``runtimes.cuda.device.Device``); empty where CUDA does not work."""
    from ..failure import Failure
    from ..runtimes.cuda import visible_devices

    try:
        return visible_devices()
    except Failure:
        return []
