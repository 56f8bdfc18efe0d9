"""What the kernel's sensors are called here, and which of them throttle: one answer for all that read them.

Types of cooling devices: Documentation/driver-api/thermal; a cap of the CPU's clocks is ``cpufreq-cpu0``, on older
kernels ``thermal-cpufreq-0``, a cap of a device's ``devfreq-`` and the device's name. None was read on a real board.
"""

import glob
import os
import re
from typing import Container, List, Optional, Tuple

MOST = 64
"""Files of one kind that are read at most; a Thor has about 20 zones and 14 policies."""
GPUS = re.compile(r".*\.(gpu|gp10b|gv11b|ga10b)|gpu-gpc-0", re.ASCII)  # Nano and new kernels, TX2, Xavier, Orin; Thor
THROTTLES = re.compile(r".*throttle-alert|hot-surface-alert|cpufreq-.*|thermal-cpufreq-.*", re.ASCII)
DEVFREQ = "devfreq-"


def text_of(path: str) -> Optional[str]:
    """The first line of a small file, as a name: what is not a letter, digit, dot or dash becomes ``_``."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        line = os.read(fd, 256).split(b"\n")[0].strip(b"\0 \t").decode("ascii", "replace")
    except OSError:
        return None
    finally:
        os.close(fd)
    return re.sub(r"[^A-Za-z0-9_.-]", "_", line)[:40] or None


def folders(root: str, *pattern: str) -> List[str]:
    """Those that match below ``root``, in the order of their numbers, so that ``zone10`` is not before ``zone2``."""

    def key(path: str) -> Tuple[int, str]:
        return len(path), path

    return sorted(glob.glob(os.path.join(glob.escape(root), *pattern)), key=key)


def numbered(name: str, *taken: Container[str]) -> str:
    """``name``, or ``name.2`` and so on where another of that name is there, readable or not."""
    known, number = name, 1
    while any(name in one for one in taken):
        number += 1
        name = "%s.%d" % (known, number)
    return name


def throttles(kind: str) -> bool:
    """Whether a cooling device above state 0 holds back GPU or CPUs: not a fan, and not another device's devfreq."""
    if kind.startswith(DEVFREQ):
        return GPUS.fullmatch(kind[len(DEVFREQ) :]) is not None
    return THROTTLES.fullmatch(kind) is not None
