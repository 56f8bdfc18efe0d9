"""Collect facts about this machine; a fact that cannot be read is None, never zero."""

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
    """Return the CPU's model from /proc/cpuinfo or, if that file lacks it as on most Arm kernels, the board's model."""
    for line in (_text("/proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model"):
            return value.strip()
    return _text("/proc/device-tree/model") or _text("/sys/firmware/devicetree/base/model")


def _clocks() -> Dict[str, Any]:
    """Return governor and limits in Hz of each cpufreq policy; empty if the kernel shows none."""
    by_policy = {}
    for folder in sorted(glob.glob("/sys/devices/system/cpu/cpufreq/policy*")):
        lowest, highest = _text(folder + "/scaling_min_freq"), _text(folder + "/scaling_max_freq")
        by_policy[os.path.basename(folder)] = {
            "governor": _text(folder + "/scaling_governor"),
            "min": int(lowest) * 1000 if lowest and lowest.isdigit() else None,
            "max": int(highest) * 1000 if highest and highest.isdigit() else None,
        }
    return by_policy


def _libc() -> Optional[str]:
    return " ".join(platform.libc_ver()) or None


def machine() -> Dict[str, Any]:
    """Return facts from the standard library, /proc, /sys and /etc; sizes in bytes, clocks in Hz."""
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


def with_libraries(libraries: Dict[str, Any]) -> Dict[str, Any]:
    """Return all facts about this machine; ``libraries`` is what a worker returned from ``libraries()``."""
    facts = dict(machine(), **libraries)
    board, native = board_facts.facts(), facts.pop("native", None) or {}
    board.update((name, native.get(name)) for name in ("libraries", "cuinit", "kernels"))
    board["not_readable"].update(native.get("not_readable") or {})
    return dict(facts, board=board)


def libraries() -> Dict[str, Any]:
    """Return ``numpy`` and ``runtimes`` (versions, None if not importable), ``facts`` by runtime, and ``native``.

    This imports numpy and the runtimes, so call it in a worker. ``native`` is what the native libraries report; they
    are queried in a separate process, since they may crash or hang. ``python`` and ``libc`` are the worker's own
    versions. ``gpus`` is present only if a runtime uses a GPU.
    """
    from ..runtimes import TABLE, runtime

    library_probe = library_versions.LibraryProbe()
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
    facts_of_all: Dict[str, Any] = {"numpy": version, "runtimes": runtimes, "facts": facts}
    facts_of_all["native"] = _native(library_probe)
    facts_of_all.update(python=platform.python_version(), libc=_libc())  # the worker's own: a container has others
    if any(known.get("gpu") for known in facts.values()):
        facts_of_all["gpus"] = gpus()
    return facts_of_all


def _native(library_probe: library_versions.LibraryProbe) -> Dict[str, Any]:
    answers, why = library_probe.answers()
    # TensorRT uses the libnvinfer that this process has loaded, wherever it came from.
    version = library_versions.loaded()
    if version is not None:
        answers["nvinfer"] = version
        why.pop("nvinfer", None)
    libraries = {name: answers[name] for name in ("nvinfer", "cudnn")}
    return {"libraries": libraries, "cuinit": answers["cuinit"], "kernels": answers["kernels"], "not_readable": why}


def gpus() -> Any:
    """Return CUDA's facts about each visible GPU (``runtimes.cuda.device.Device``); empty if CUDA does not work."""
    from ..failure import Failure
    from ..runtimes.cuda import visible_devices

    try:
        return visible_devices()
    except Failure:
        return []
