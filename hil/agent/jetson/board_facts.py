"""Raw facts about a Jetson, read below one root; the host interprets them.

A fact that cannot be read is None, and ``not_readable`` gives the reason.
"""

import json
import re
from typing import Any, Callable, Dict, List, Optional

from ..machine import access, process_memory
from ..machine.reader import NotReadable, Reader
from . import nvpmodel
from .power_mode import PowerMode

PACKAGES = ("nvidia-l4t-core", "nvidia-jetpack")
BOOT_CONTROL = ("TNSPEC", "COMPATIBLE_SPEC")
MOST_STATUS = 64 << 20
_CUDA_TEXT = re.compile(r"CUDA Version ([0-9.]+)")


def facts(root: str = "/") -> Dict[str, Any]:
    """Return the raw facts of the machine whose files are below ``root``; ``memory_total`` is in bytes.

    ``cuda`` has the toolkit's version and the file that names it. ``libraries`` and ``cuinit`` are None here: a worker
    queries them (``library_versions``). A fact that cannot be read is None, with its reason in ``not_readable``.
    """
    reader = Reader(root)
    by_name: Dict[str, Any] = {name: reader.fact(name, read) for name, read in FACTS.items()}
    modes = reader.fact("power_modes", _modes) or (None, None)
    by_name["power_modes"], by_name["default_power_mode"] = modes
    by_name["power_mode"] = PowerMode(root).read(reader.not_readable)
    return dict(by_name, libraries=None, cuinit=None, not_readable=reader.not_readable)


def _compatible(reader: Reader) -> List[str]:
    return [text for text in reader.tree("compatible").decode("utf-8", "replace").split("\0") if text]


def _word(name: str) -> Callable[[Reader], Optional[str]]:
    def read(reader: Reader) -> str:
        text = reader.tree(name).decode("utf-8", "replace").strip("\0\n ")
        if not text:
            raise NotReadable("%s of the device tree is empty" % name)
        return text

    return read


def _packages(reader: Reader) -> Dict[str, Optional[str]]:
    """Return the version of each package in ``PACKAGES`` from dpkg's list; None for a package that is not installed."""
    text = b"\n" + reader.content("var/lib/dpkg/status", MOST_STATUS)
    versions: Dict[str, Optional[str]] = {}
    for name in PACKAGES:
        at = text.find(b"\nPackage: %s\n" % name.encode())
        entry = text[at + 1 : text.find(b"\n\n", at + 1)] if at >= 0 else b""
        fields = dict(line.partition(b": ")[::2] for line in entry.splitlines() if not line.startswith(b" "))
        installed = fields.get(b"Status", b"").endswith(b" installed")
        versions[name] = fields.get(b"Version", b"").decode("utf-8", "replace") or None if installed else None
    return versions


def _boot_control(reader: Reader) -> Dict[str, Optional[str]]:
    values: Dict[str, Optional[str]] = dict.fromkeys(BOOT_CONTROL)
    for line in reader.text("etc/nv_boot_control.conf").splitlines():
        key, _, value = line.strip().partition(" ")
        if key in values:
            values[key] = value.strip() or None
    return values


def _modes(reader: Reader) -> Any:
    return nvpmodel.parse(reader.content(nvpmodel.CONF, 1 << 20).decode("utf-8", "replace"))


def _memory(reader: Reader) -> int:
    total = process_memory.fields(reader.path("proc/meminfo")).get("MemTotal")
    if total is None:
        raise NotReadable("/proc/meminfo has no MemTotal")
    return total


def _cuda(reader: Reader) -> Dict[str, str]:
    """Return ``toolkit``, a version of CUDA, and ``source``, the file that has it.

    The version is that of the CUDA compiler or, if the file lacks the compiler, of the toolkit. Raise an exception that
    ``Reader.fact`` handles, such as ``NotReadable``, if there is no such file, or it has no version.
    """
    try:
        name = "usr/local/cuda/version.json"
        versions = json.loads(reader.text(name))
        version = (versions.get("cuda_nvcc") or versions["cuda"])["version"]
    except NotReadable:
        name = "usr/local/cuda/version.txt"
        match = _CUDA_TEXT.search(reader.text(name))
        if match is None:
            raise NotReadable("/%s names no version" % name) from None
        version = match.group(1)
    except (TypeError, AttributeError):
        raise NotReadable("/%s does not have the structure of NVIDIA's file" % name) from None
    return {"toolkit": str(version), "source": "/" + name}


FACTS: Dict[str, Callable[[Reader], Any]] = {
    "compatible": _compatible,
    "model": _word("model"),
    "serial": _word("serial-number"),
    "nv_tegra_release": lambda reader: reader.text("etc/nv_tegra_release"),
    "packages": _packages,
    "boot_control": _boot_control,
    "memory_total": _memory,
    "cuda": _cuda,
    "groups": access.groups,
    "devices": access.devices,
    "container": access.container,
}
