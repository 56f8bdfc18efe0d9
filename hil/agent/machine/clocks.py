"""Read limits and current values of GPU, memory and CPU clocks, in Hz, and conclude whether they are locked."""

import glob
import os
from typing import Any, Dict, List, Mapping, Optional

GPU = ("*.gpu", "*.gp10b", "*.gv11b", "*.ga10b", "gpu-gpc-0")  # Nano and newer kernels, TX2, Xavier, Orin, Thor
NODES = ("gpu", "gp10b", "gv11b", "ga10b")
EMC = "kernel/debug/bpmp/debug/clk/emc"
EMC_DEVFREQ = ("bwmgr", "*.emc", "*.external-memory-controller")  # Thor; mainline's names
CAPS = ("kernel/nvpmodel_emc_cap/emc_iso_cap", "kernel/nvpmodel_clk_cap/emc")
"""Files with the power mode's cap of the memory clock, in Hz as in nvpmodel.conf (``EMC MAX_FREQ 2133000000``).

0 means no cap. Kernels up to R35 have the first file, kernels from R36 the second. Neither was read on a real board.
"""
LEAST_CAP = 10_000_000
"""Caps below this (Hz) cannot be a memory clock in Hz, so their unit is unknown and they are not used."""
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
    """Return the GPU's devfreq folder, found by its name or its device tree node; None if there is none."""
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
    """Return the memory controller's devfreq folder; None if there is none."""
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
    limits: Dict[str, Any] = {key: _number(os.path.join(debug, name)) for key, name in names}
    from_helper = (privileged or {}).get("emc")
    if all(value is None for value in limits.values()) and isinstance(from_helper, dict):
        limits = {key: from_helper.get(key) for key, _ in names}
    return None if all(value is None for value in limits.values()) else dict(limits, governor=None)


def policies(sys_root: str) -> Dict[str, Dict[str, Any]]:
    """Return ``min``, ``max``, ``cur`` (Hz) and ``governor`` of each cpufreq policy, by its name.

    A policy whose CPUs are all offline is left out.
    """
    by_policy = {}
    for folder in sorted(glob.glob(os.path.join(sys_root, "devices/system/cpu/cpufreq/policy*"))):
        if os.path.exists(folder + "/affected_cpus") and _word(folder + "/affected_cpus") is None:
            continue
        khz = {key: _number("%s/scaling_%s_freq" % (folder, key)) for key in ("min", "max", "cur")}
        policy: Dict[str, Any] = {key: None if value is None else value * KILO for key, value in khz.items()}
        policy["governor"] = _word(folder + "/scaling_governor")
        by_policy[os.path.basename(folder)] = policy
    return by_policy


def read(sys_root: str, why: Dict[str, str], privileged: Optional[Mapping[str, Any]] = None) -> Dict[str, Any]:
    """Return ``{"gpu": {"min", "max", "cur", "governor"}, "emc": …, "policy0": …}``, clocks in Hz.

    ``emc``, the memory's clock, also has ``cap`` (see ``emc_cap``). Unreadable parts are left out, unreadable values
    are None. ``why`` gets the reason for each missing part, and for each ``min`` and ``max`` with the value None.
    ``privileged`` is what the root helper has read (None: nothing).
    """
    by_part: Dict[str, Any] = {}
    folder = gpu_folder(sys_root)
    if folder is not None:
        by_part["gpu"] = _devfreq(folder)
    else:
        why["clocks.gpu"] = "no GPU is listed in devfreq"
    emc = _emc(sys_root, privileged)
    if emc is not None:
        by_part["emc"] = dict(emc, cap=emc_cap(sys_root))
    else:
        why["clocks.emc"] = "devfreq does not list it, and this user cannot read its clock in debugfs"
    cpus = policies(sys_root)
    if not cpus:
        why["clocks.policy"] = "the kernel shows no cpufreq policy"
    by_part.update(cpus)
    for part in sorted(by_part):
        for key in ("min", "max"):
            if by_part[part][key] is None:
                why["clocks.%s.%s" % (part, key)] = "it cannot be read"
    return by_part


def emc_cap(sys_root: str) -> Optional[int]:
    """Return the highest memory clock that the power mode allows, in Hz; 0 if it sets no limit, None if unknown."""
    for place in CAPS:
        cap = _number(os.path.join(sys_root, place))
        if cap is not None:
            return cap if cap == 0 or cap >= LEAST_CAP else None
    return None


def _emc_locked(emc: Mapping[str, Any]) -> Optional[bool]:
    """Return whether the memory's clock is fixed or the highest of its power mode; None if unknown."""
    top, low, now, cap = (emc.get(key) for key in ("max", "min", "cur", "cap"))
    if top is None or (now is None and low != top):
        return None
    # jetson_clocks makes the memory run at the highest clock of the power mode without raising its lower limit.
    if top in (low, now):
        return True
    if cap is None:
        return None
    return bool(now >= SAME * (min(top, cap) if cap else top))


def locked(clocks: Mapping[str, Mapping[str, Any]], why: Dict[str, str]) -> Optional[bool]:
    """Return whether GPU, CPUs and memory are at fixed clocks, from the result of ``read``.

    The result is False if one of them is not, otherwise None if a limit of the GPU or a CPU is missing. GPU and CPUs
    need equal lower and upper limits; the memory's clock must be fixed or the highest of its power mode. An unknown
    memory clock is ignored, with a note in ``why["clocks.emc"]``.
    """
    answers: List[Optional[bool]] = []
    for part, part_clocks in clocks.items():
        if part == "emc":
            emc_locked = _emc_locked(part_clocks)
            if emc_locked is None:
                why["clocks.emc"] = "it is not known whether it runs at the highest clock of the power mode"
            answers.append(emc_locked is not False)
        else:
            low, top = part_clocks["min"], part_clocks["max"]
            answers.append(None if low is None or top is None else low == top)
    if any(answer is False for answer in answers):
        return False
    complete = "gpu" in clocks and any(part.startswith("policy") for part in clocks)
    return True if complete and all(answers) else None
