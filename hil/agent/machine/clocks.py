"""Limits and present values of GPU, memory and CPU clocks, in Hz, and whether they leave any freedom.

A GPU's devfreq is called after its address and chip, on Thor after its part; the memory controller's (EMC) is in
debugfs, which root alone may read, on Thor in devfreq.
"""

import glob
import os
from typing import Any, Dict, List, Mapping, Optional

GPU = ("*.gpu", "*.gp10b", "*.gv11b", "*.ga10b", "gpu-gpc-0")  # Nano and newer kernels, TX2, Xavier, Orin, Thor
NODES = ("gpu", "gp10b", "gv11b", "ga10b")
EMC = "kernel/debug/bpmp/debug/clk/emc"
EMC_DEVFREQ = ("bwmgr", "*.emc", "*.external-memory-controller")  # Thor; mainline's names
CAPS = ("kernel/nvpmodel_emc_cap/emc_iso_cap", "kernel/nvpmodel_clk_cap/emc")
"""The power mode's cap of the memory's clock, in Hz as in NVIDIA's nvpmodel.conf files (``EMC MAX_FREQ 2133000000``);
0 is none there. By kernel: up to R35, from R36. Not read on a real board."""
LEAST_CAP = 10_000_000
"""Hz under which a cap is no memory's clock, and so in another unit than is known here."""
SAME = 0.99
KILO = 1000


def _word(path: str) -> Optional[str]:
    try:
        with open(path, "rb") as file:
            return file.read(256).decode("ascii", "replace").strip("\0\n ") or None
    except OSError:
        return None


def _number(path: str) -> Optional[int]:
    word = _word(path)
    return int(word) if word is not None and word.isdigit() else None


def gpu_folder(sys_root: str) -> Optional[str]:
    """The GPU's folder in devfreq, by its name or by its node in the device tree; None where there is none."""
    folders = sorted(glob.glob(os.path.join(sys_root, "class/devfreq/*")))
    for pattern in GPU:
        for folder in sorted(glob.glob(os.path.join(sys_root, "class/devfreq", pattern))):
            return folder
    return next((folder for folder in folders if _word(folder + "/device/of_node/name") in NODES), None)


def _devfreq(folder: str) -> Dict[str, Any]:
    return {
        "min": _number(folder + "/min_freq"),
        "max": _number(folder + "/max_freq"),
        "cur": _number(folder + "/cur_freq"),
        "governor": _word(folder + "/governor"),
    }


def emc_folder(sys_root: str) -> Optional[str]:
    """The memory controller's folder in devfreq, where it has one."""
    for pattern in EMC_DEVFREQ:
        for folder in sorted(glob.glob(os.path.join(sys_root, "class/devfreq", pattern))):
            return folder
    return None


def _emc(sys_root: str, privileged: Optional[Mapping[str, Any]]) -> Optional[Dict[str, Any]]:
    folder = emc_folder(sys_root)
    if folder is not None:
        return _devfreq(folder)
    debug = os.path.join(sys_root, EMC)
    names = (("min", "min_rate"), ("max", "max_rate"), ("cur", "rate"))
    found: Dict[str, Any] = {key: _number(os.path.join(debug, name)) for key, name in names}
    told = (privileged or {}).get("emc")
    if all(value is None for value in found.values()) and isinstance(told, dict):
        found = {key: told.get(key) for key, _ in names}
    return None if all(value is None for value in found.values()) else dict(found, governor=None)


def policies(sys_root: str) -> Dict[str, Dict[str, Any]]:
    """Each cpufreq policy that has a CPU online: one whose CPUs are all off holds nothing."""
    found = {}
    for folder in sorted(glob.glob(os.path.join(sys_root, "devices/system/cpu/cpufreq/policy*"))):
        if os.path.exists(folder + "/affected_cpus") and _word(folder + "/affected_cpus") is None:
            continue
        told = {key: _number("%s/scaling_%s_freq" % (folder, key)) for key in ("min", "max", "cur")}
        known: Dict[str, Any] = {key: None if value is None else value * KILO for key, value in told.items()}
        known["governor"] = _word(folder + "/scaling_governor")
        found[os.path.basename(folder)] = known
    return found


def read(sys_root: str, why: Dict[str, str], privileged: Optional[Mapping[str, Any]] = None) -> Dict[str, Any]:
    """``{"gpu": {"min", "max", "cur", "governor"}, "emc": …, "policy0": …}``; what cannot be read is left out."""
    found: Dict[str, Any] = {}
    folder = gpu_folder(sys_root)
    if folder is not None:
        found["gpu"] = _devfreq(folder)
    else:
        why["clocks.gpu"] = "no GPU is listed in devfreq"
    emc = _emc(sys_root, privileged)
    if emc is not None:
        found["emc"] = dict(emc, cap=emc_cap(sys_root))
    else:
        why["clocks.emc"] = "debugfs is readable for root alone"
    cpus = policies(sys_root)
    if not cpus:
        why["clocks.policy"] = "the kernel shows no cpufreq policy"
    found.update(cpus)
    for part in sorted(found):
        for key in ("min", "max"):
            if found[part][key] is None:
                why["clocks.%s.%s" % (part, key)] = "it cannot be read"
    return found


def emc_cap(sys_root: str) -> Optional[int]:
    """The power mode's cap of the memory's clock in Hz, 0 where it has none; None where nobody can tell."""
    for place in CAPS:
        cap = _number(os.path.join(sys_root, place))
        if cap is not None:
            return cap if cap == 0 or cap >= LEAST_CAP else None
    return None


def _emc_locked(known: Mapping[str, Any]) -> Optional[bool]:
    """Whether the memory runs as fast as its power mode lets it; None where that is not known."""
    top, low, now, cap = (known.get(key) for key in ("max", "min", "cur", "cap"))
    if top is None or (now is None and low != top):
        return None
    if top in (low, now):
        return True
    if cap is None:
        return None
    return bool(now >= SAME * (min(top, cap) if cap else top))


def locked(clocks: Mapping[str, Mapping[str, Any]], why: Dict[str, str]) -> Optional[bool]:
    """Whether GPU and CPUs have one frequency left each, and the memory runs at the highest that its mode allows.

    The memory has no lower limit of its own that locking raises: ``jetson_clocks`` leaves it running at its highest.
    Where that cannot be told, GPU and CPUs decide, with the reason under ``clocks.emc`` in ``why``.
    None where the limits of GPU or CPUs cannot be read.
    """
    told: List[Optional[bool]] = []
    for part, known in clocks.items():
        if part == "emc":
            fast = _emc_locked(known)
            if fast is None:
                why["clocks.emc"] = "whether it runs at the highest clock of the power mode cannot be told"
            told.append(fast is not False)
        else:
            low, top = known["min"], known["max"]
            told.append(None if low is None or top is None else low == top)
    if any(one is False for one in told):
        return False
    sure = "gpu" in clocks and any(part.startswith("policy") for part in clocks)
    return True if sure and all(told) else None
