"""Everything a doctor wants to know of a machine, in one answer; run from memory, so that it leaves nothing behind.

While somebody holds the target nothing is started that could disturb him: no runtime is imported, the GPU is not
opened, no helper and no tegrastats started. Otherwise the target is held meanwhile, so that nobody begins to measure.
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
from ..store.holder import held_meanwhile
from . import device_memory, import_probe, library_versions, probe, state
from . import root_helper as helper

MARK = b"hil-looked "
SERVICES = "/etc/pytest-hil/services"
TEGRASTATS_SECONDS = 2.5
NICE = 10  # beside a running measurement


def main() -> None:
    """``argv[1]`` is the order: ``store``, ``runtimes``, ``gpu``, ``who``, ``host``; with ``peek``: who holds it."""
    out = os.dup(1)
    os.dup2(2, 1)  # where native libraries print
    order = json.loads(sys.argv[1])
    with contextlib.suppress(OSError):
        os.nice(NICE)
    told = b"\n" + MARK + json.dumps(collect(order)).encode() + b"\n"
    with os.fdopen(out, "wb") as file:
        file.write(told)


def collect(order: Dict[str, Any]) -> Dict[str, Any]:
    """The facts; ``time`` is the machine's clock as the answer is sent."""
    root = store_root(str(order.get("store") or ""))
    claim = {"token": "look %d" % os.getpid(), "pid": str(os.getpid())}
    claim.update((key, str(order.get(key))) for key in ("who", "host"))
    with held_meanwhile(root, claim, peek=bool(order.get("peek"))) as holder:
        found: Dict[str, Any] = {"holder": holder}
        if not order.get("peek"):
            found.update(_all(order, root, free=holder is None))
    return dict(found, time=time.time())


def _all(order: Dict[str, Any], root: str, *, free: bool) -> Dict[str, Any]:
    now = time.monotonic()
    runtimes = [str(name) for name in order.get("runtimes") or ()]
    asked = import_probe.ImportProbe(runtimes, gpu=bool(order.get("gpu"))) if free else None
    natives = library_versions.LibraryProbe() if free and order.get("gpu") else None
    stats = tegrastats_process.TegrastatsProcess(tegrastats_process.find(), now) if free else None
    try:
        found: Dict[str, Any] = {"account": account(), "store": store(root)}
        told, privileged = root_helper(start=free)
        found["helper"] = told
        found["board"] = board_facts.facts()
        found.update(probe.machine(), prefix=[sys.prefix, sys.base_prefix], executable=sys.executable)
        found["there"] = {name: importlib.util.find_spec(name) is not None for name in ["numpy", *runtimes]}
        if asked is not None:
            found.update(asked.answers())
        if natives is not None:
            _native(found["board"], natives)
        gpu = _nvml(found) if free else None
        found["state"] = state.StateReader().snapshot(gpu, privileged)
        found["tegrastats"] = tegrastats(stats)
    finally:
        if stats is not None:
            stats.close()
    return found


def _native(facts: Dict[str, Any], asked: library_versions.LibraryProbe) -> None:
    answers, why = asked.answers()
    facts["libraries"] = {name: answers[name] for name in ("nvinfer", "cudnn")}
    facts["cuinit"] = answers["cuinit"]
    facts["not_readable"].update(why)


def _nvml(found: Dict[str, Any]) -> Any:
    """NVML's GPU, where the first one has such a driver; it opens no context there."""
    gpus = found.get("gpus") or []
    try:
        return device_memory.open_device_memory(gpus[0]).gpu if gpus else None
    except (OSError, KeyError, TypeError, AttributeError):
        return None


def account() -> Dict[str, Any]:
    """Who this is there; ``name`` is None for a number that no name belongs to."""
    name: Optional[str] = None
    with contextlib.suppress(KeyError):
        name = pwd.getpwuid(os.getuid()).pw_name
    return {"name": name, "uid": os.getuid()}


def store_root(given: str) -> str:
    """The store's folder: the usual one where none is given."""
    if given:
        return os.path.abspath(os.path.expanduser(given))
    cache = os.environ.get("XDG_CACHE_HOME", "")
    cache = cache if cache.startswith("/") else os.path.expanduser("~/.cache")
    return os.path.join(cache, "pytest-hil", "store")


def store(root: str) -> Dict[str, Any]:
    """Whether the store is there or may be made, and the bytes that it has and could have."""
    place = root
    while not os.path.lexists(place) and place != "/":
        place = os.path.dirname(place)
    found: Dict[str, Any] = {"path": root, "exists": place == root, "place": place, "used": _used(root)}
    found["writable"] = os.path.isdir(place) and os.access(place, os.W_OK | os.X_OK)
    try:
        disk = os.statvfs(place)
        found["free"] = disk.f_bavail * disk.f_frsize
    except OSError as error:
        found.update(free=None, why=error.strerror)
    return found


def _used(root: str) -> Optional[int]:
    try:
        return sum(entry.stat().st_size for entry in os.scandir(os.path.join(root, "blobs")))
    except FileNotFoundError:
        return 0
    except OSError:
        return None


def root_helper(*, start: bool) -> Any:
    """What the root helper is, and what it reads that root alone may (``state.StateReader.snapshot``)."""
    told: Dict[str, Any] = {"why_not": helper.installed() or None, "wants": helper.VERSION, "services": services()}
    told["installed"] = told["why_not"] is None
    told["answers"] = None
    privileged: Dict[str, Any] = {}
    if told["installed"] and start:
        opened = helper.Helper.open()
        told["answers"] = opened is not None
        if opened is None:
            told["why_not"] = helper.Helper.why_not
        else:
            nvmap, emc = opened.ask("nvmap"), opened.ask("emc")
            opened.close()
            if nvmap.get("ok"):
                privileged["nvmap"] = nvmap.get("text")
            if emc.get("ok"):
                privileged["emc"] = {"cur": emc.get("rate"), "min": emc.get("min_rate"), "max": emc.get("max_rate")}
    return told, privileged


def services() -> Optional[List[str]]:
    """Those that the root helper may restart; None where the list cannot be read."""
    try:
        with open(SERVICES) as file:
            return [line.strip() for line in file if line.strip() and not line.startswith("#")]
    except (OSError, ValueError):
        return None


def tegrastats(reader: Optional[tegrastats_process.TegrastatsProcess]) -> Optional[Dict[str, Any]]:
    """Whether it runs and its lines can be read; None where it was not asked."""
    if reader is None:
        return None
    until = time.monotonic() + TEGRASTATS_SECONDS
    while reader.why is None and time.monotonic() < until:
        if reader.latest(time.monotonic()):
            return {"works": True, "why": None}
        time.sleep(0.02)
    return {"works": False, "why": reader.why or "no line came"}
