"""Name the kernel's sensors, and decide which cooling devices throttle.

Source: Documentation/driver-api/thermal, not a real board.
"""

import glob
import os
import re
from typing import Container, List, Optional, Tuple

MOST = 64
"""Maximum number of files of one kind that are read; a Thor has about 20 zones and 14 policies."""
GPUS = re.compile(r".*\.(gpu|gp10b|gv11b|ga10b)|gpu-gpc-0", re.ASCII)  # Nano and new kernels, TX2, Xavier, Orin; Thor
THROTTLES = re.compile(r".*throttle-alert|hot-surface-alert|cpufreq-.*|thermal-cpufreq-.*", re.ASCII)
DEVFREQ = "devfreq-"


def text_of(path: str) -> Optional[str]:
    """Return the first line of a small file as a name of at most 40 characters; None if it is empty or unreadable.

    Characters other than letters, digits, dots and dashes become ``_``.
    """
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
    """Return the paths below ``root`` that match the components ``pattern``, by number: ``zone2`` before ``zone10``."""

    def key(path: str) -> Tuple[int, str]:
        return len(path), path

    return sorted(glob.glob(os.path.join(glob.escape(root), *pattern)), key=key)


def numbered(name: str, *used: Container[str]) -> str:
    """Return the first of ``name``, ``name.2``, ``name.3``, … that is in none of ``used``."""
    known, number = name, 1
    while any(name in names for names in used):
        number += 1
        name = "%s.%d" % (known, number)
    return name


def throttles(kind: str) -> bool:
    """Return whether a cooling device of type ``kind`` slows down GPU or CPUs in states above 0."""
    if kind.startswith(DEVFREQ):
        return GPUS.fullmatch(kind[len(DEVFREQ) :]) is not None
    return THROTTLES.fullmatch(kind) is not None
