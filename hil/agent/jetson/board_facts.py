"""What a Jetson says of itself, as raw as it says it; what that makes it is for the host to judge.

Everything is read below one ``root``. A fact that cannot be read is None, and ``not_readable`` says why.
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
    """The raw facts of the machine whose files are below ``root``; memory in bytes.

    ``cuda`` is the toolkit by its own version file; ``libraries`` and ``cuinit`` are a worker's to ask
    (``native``), and None here.
    """
    reader = Reader(root)
    found: Dict[str, Any] = {name: reader.fact(name, read) for name, read in FACTS.items()}
    modes = reader.fact("power_modes", _modes) or (None, None)
    found["power_modes"], found["default_power_mode"] = modes
    found["power_mode"] = PowerMode(root).read(reader.not_readable)
    return dict(found, libraries=None, cuinit=None, not_readable=reader.not_readable)


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
    """Versions of the installed ones by dpkg's own list; None for one that is not installed."""
    text = b"\n" + reader.content("var/lib/dpkg/status", MOST_STATUS)
    found: Dict[str, Optional[str]] = {}
    for name in PACKAGES:
        at = text.find(b"\nPackage: %s\n" % name.encode())
        entry = text[at + 1 : text.find(b"\n\n", at + 1)] if at >= 0 else b""
        fields = dict(line.partition(b": ")[::2] for line in entry.splitlines() if not line.startswith(b" "))
        installed = fields.get(b"Status", b"").endswith(b" installed")
        found[name] = fields.get(b"Version", b"").decode("utf-8", "replace") or None if installed else None
    return found


def _boot_control(reader: Reader) -> Dict[str, Optional[str]]:
    found: Dict[str, Optional[str]] = dict.fromkeys(BOOT_CONTROL)
    for line in reader.text("etc/nv_boot_control.conf").splitlines():
        key, _, value = line.strip().partition(" ")
        if key in found:
            found[key] = value.strip() or None
    return found


def _modes(reader: Reader) -> Any:
    return nvpmodel.parse(reader.content(nvpmodel.CONF, 1 << 20).decode("utf-8", "replace"))


def _memory(reader: Reader) -> int:
    total = process_memory.fields(reader.path("proc/meminfo")).get("MemTotal")
    if total is None:
        raise NotReadable("/proc/meminfo tells no MemTotal")
    return total


def _cuda(reader: Reader) -> Dict[str, str]:
    """The version of the compiler, which is what a release is known by, or of the toolkit as a whole."""
    try:
        name = "usr/local/cuda/version.json"
        told = json.loads(reader.text(name))
        version = (told.get("cuda_nvcc") or told["cuda"])["version"]
    except NotReadable:
        name = "usr/local/cuda/version.txt"
        found = _CUDA_TEXT.search(reader.text(name))
        if found is None:
            raise NotReadable("/%s tells no version" % name) from None
        version = found.group(1)
    except (TypeError, AttributeError):
        raise NotReadable("/%s has another shape than NVIDIA's" % name) from None
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
