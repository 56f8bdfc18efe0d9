"""Collect what ``hil doctor`` needs to know about a machine, without writing files on it.

The target is held meanwhile, if it is free; if not, no runtime, GPU, root helper or tegrastats is used.
"""

import contextlib
import importlib.util
import json
import os
import pwd
import sys
import time
from typing import Any, Dict, List, Optional

from ..jetson import board_facts, tegrastats_process
from ..runtimes import runtime
from ..store.holder import held_if_free
from . import device_memory, import_probe, library_versions, probe, state
from . import root_helper as helper

MARK = b"hil-looked "
SERVICES = "/etc/pytest-hil/services"
TEGRASTATS_SECONDS = 2.5
NICE = 10  # a measurement may be running


def main() -> None:
    """Print ``MARK`` and the facts as one line of JSON.

    ``argv[1]`` is JSON: ``store`` (a folder, empty for the default), ``runtimes`` (names), ``gpu`` (whether to query
    it), ``who`` and ``host`` (by which other sessions learn who holds the target), ``holder_only``.
    """
    out = os.dup(1)
    os.dup2(2, 1)  # native libraries print to descriptor 1
    order = json.loads(sys.argv[1])
    with contextlib.suppress(OSError):
        os.nice(NICE)
    line = b"\n" + MARK + json.dumps(collect(order)).encode() + b"\n"
    with os.fdopen(out, "wb") as file:
        file.write(line)


def collect(order: Dict[str, Any]) -> Dict[str, Any]:
    """Return the facts that ``order`` (see ``main``) asks for; ``time`` is the machine's clock after collecting them.

    ``holder`` is None if nobody else holds the target. If ``holder_only`` is true, return only ``holder`` and ``time``.
    """
    root = store_root(str(order.get("store") or ""))
    claim = {"token": "look %d" % os.getpid(), "pid": str(os.getpid())}
    claim.update((key, str(order.get(key))) for key in ("who", "host"))
    with held_if_free(root, claim, holder_only=bool(order.get("holder_only"))) as holder:
        facts: Dict[str, Any] = {"holder": holder}
        if not order.get("holder_only"):
            facts.update(_all(order, root, free=holder is None))
    return dict(facts, time=time.time())


def _all(order: Dict[str, Any], root: str, *, free: bool) -> Dict[str, Any]:
    now = time.monotonic()
    runtimes = [str(name) for name in order.get("runtimes") or ()]
    imports = import_probe.ImportProbe(runtimes, gpu=bool(order.get("gpu"))) if free else None
    libraries = library_versions.LibraryProbe() if free and order.get("gpu") else None
    tegrastats_reader = tegrastats_process.TegrastatsProcess(tegrastats_process.find(), now) if free else None
    try:
        facts: Dict[str, Any] = {"account": account(), "store": store(root)}
        helper_facts, privileged = root_helper(start=free)
        facts["helper"] = helper_facts
        facts["board"] = board_facts.facts()
        facts.update(probe.machine(), prefix=[sys.prefix, sys.base_prefix], executable=sys.executable)
        modules = dict({name: runtime(name).module for name in runtimes}, numpy="numpy")
        facts["there"] = {name: importlib.util.find_spec(module) is not None for name, module in modules.items()}
        if imports is not None:
            facts.update(imports.answers())
        if libraries is not None:
            _native(facts["board"], libraries)
        gpu = _nvml(facts) if free else None
        facts["state"] = state.StateReader().snapshot(gpu, privileged)
        facts["tegrastats"] = tegrastats(tegrastats_reader)
    finally:
        if tegrastats_reader is not None:
            tegrastats_reader.close()
    return facts


def _native(facts: Dict[str, Any], library_probe: library_versions.LibraryProbe) -> None:
    answers, why = library_probe.answers()
    facts["libraries"] = {name: answers[name] for name in ("nvinfer", "cudnn")}
    facts["cuinit"], facts["kernels"] = answers["cuinit"], answers["kernels"]
    facts["not_readable"].update(why)


def _nvml(facts: Dict[str, Any]) -> Any:
    """Return NVML's interface to the first GPU, without a CUDA context; None if NVML reaches no GPU."""
    gpus = facts.get("gpus") or []
    try:
        return device_memory.open_device_memory(gpus[0]).gpu if gpus else None
    except (OSError, KeyError, TypeError, AttributeError):
        return None


def account() -> Dict[str, Any]:
    """Return the user of this process; ``name`` is None if the user id has no name."""
    name: Optional[str] = None
    with contextlib.suppress(KeyError):
        name = pwd.getpwuid(os.getuid()).pw_name
    return {"name": name, "uid": os.getuid()}


def store_root(path: str) -> str:
    """Return the store's folder; the default one if ``path`` is empty."""
    if path:
        return os.path.abspath(os.path.expanduser(path))
    cache = os.environ.get("XDG_CACHE_HOME", "")
    cache = cache if cache.startswith("/") else os.path.expanduser("~/.cache")
    return os.path.join(cache, "pytest-hil", "store")


def store(root: str) -> Dict[str, Any]:
    """Return facts about the store in the folder ``root``.

    ``place`` is the store, or the nearest existing folder above it; ``writable`` is whether this user may write there.
    ``used`` and ``free`` are bytes, None if unknown.
    """
    existing = root
    while not os.path.lexists(existing) and existing != "/":
        existing = os.path.dirname(existing)
    facts: Dict[str, Any] = {"path": root, "exists": existing == root, "place": existing, "used": _used(root)}
    facts["writable"] = os.path.isdir(existing) and os.access(existing, os.W_OK | os.X_OK)
    try:
        disk = os.statvfs(existing)
        facts["free"] = disk.f_bavail * disk.f_frsize
    except OSError as error:
        facts.update(free=None, why=error.strerror)
    return facts


def _used(root: str) -> Optional[int]:
    try:
        return sum(entry.stat().st_size for entry in os.scandir(os.path.join(root, "blobs")))
    except FileNotFoundError:
        return 0
    except OSError:
        return None


def root_helper(*, start: bool) -> Any:
    """Return facts about the root helper, and its values for ``StateReader.snapshot``; no values if it did not start.

    ``start`` is whether to start it.
    """
    facts: Dict[str, Any] = {"why_not": helper.installed() or None, "wants": helper.VERSION, "services": services()}
    facts["installed"] = facts["why_not"] is None
    facts["answers"] = None
    privileged: Dict[str, Any] = {}
    if facts["installed"] and start:
        opened = helper.Helper.open()
        facts["answers"] = opened is not None
        if opened is None:
            facts["why_not"] = helper.Helper.why_not
        else:
            nvmap, emc = opened.ask("nvmap"), opened.ask("emc")
            opened.close()
            if nvmap.get("ok"):
                privileged["nvmap"] = nvmap.get("text")
            if emc.get("ok"):
                privileged["emc"] = {"cur": emc.get("rate"), "min": emc.get("min_rate"), "max": emc.get("max_rate")}
    return facts, privileged


def services() -> Optional[List[str]]:
    """Return the services that the root helper may restart; None if the list cannot be read."""
    try:
        with open(SERVICES) as file:
            return [line.strip() for line in file if line.strip() and not line.startswith("#")]
    except (OSError, ValueError):
        return None


def tegrastats(reader: Optional[tegrastats_process.TegrastatsProcess]) -> Optional[Dict[str, Any]]:
    """Return ``works``, whether tegrastats prints a line that can be parsed, and ``why`` it does not.

    This waits at most ``TEGRASTATS_SECONDS``. Return None if ``reader`` is None.
    """
    if reader is None:
        return None
    until = time.monotonic() + TEGRASTATS_SECONDS
    while reader.why is None and time.monotonic() < until:
        if reader.latest(time.monotonic()):
            return {"works": True, "why": None}
        time.sleep(0.02)
    return {"works": False, "why": reader.why or "it printed no line"}
