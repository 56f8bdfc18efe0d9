"""Complete the options of a build or a load with the paths of caches, and of files that the options name by digest."""

import hashlib
import json
import os
from typing import Any, Dict, List, Mapping, Optional

from ..failure import PROTOCOL, Failure
from ..runtimes import runtime
from .blobs import Store

POWER_MODE = "/var/lib/nvpmodel/status"  # "pmode:0002": nvpmodel writes it at each change and reads it at boot


def for_build(store: Store, request: Mapping[str, Any], facts: Mapping[str, Any]) -> Dict[str, Any]:
    """Return the request's options. For a runtime that compiles, ``paths`` has plugins, calibration data and caches.

    Raise ``Failure`` if a plugin or calibration data are missing or damaged, or if the request sets ``paths``.
    """
    options = dict(request["options"])
    if "paths" in options:
        raise Failure(PROTOCOL, "only the agent sets paths")
    if not runtime(facts["runtime"]).compiles:
        return options
    paths: Dict[str, Any] = {"plugins": [store.verify(digest) for digest in options.get("plugins") or []]}
    version = facts["runtime_version"]
    if facts["gpu"] is not None:
        paths["timing_cache"] = _cache_path(store, "timing", [version, facts["gpu"], facts["sm"], facts["sms"]])
    implicit = options.get("implicit")
    if implicit is not None:
        paths["data"] = {name: store.verify(digest) for name, digest in sorted(implicit["data"].items())}
        inputs = [version, facts["model"], facts["calibration"], implicit, options.get("profiles")]
        inputs.append(options.get("plugins"))
        paths["calibration_cache"] = _cache_path(store, "calibration", inputs)
    return dict(options, paths=paths)


def verify_external(store: Store, table: Mapping[str, Any]) -> List[str]:
    """Verify the blobs under ``external`` of a request or a record, and return their digests.

    Raise ``Failure`` if a blob is missing or damaged.
    """
    digests = list(table.get("external") or [])
    for digest in digests:
        store.verify(digest)
    return digests


def for_load(store: Store, request: Mapping[str, Any], record: Mapping[str, Any]) -> Dict[str, Any]:
    """Return the request's options with what ``record`` adds: plugin ``paths``, ``foreign`` and the ``dla`` core.

    ``foreign`` is true for an engine that was built elsewhere. Raise ``Failure`` if a plugin or external data are
    missing or damaged, or if the request sets ``paths``.
    """
    options = dict(request["options"])
    if "paths" in options:
        raise Failure(PROTOCOL, "only the agent sets paths")
    verify_external(store, record)
    plugins = record.get("plugins") or []
    if plugins:
        options["paths"] = {"plugins": [store.verify(digest) for digest in plugins]}
    if record["facts"].get("foreign"):
        options["foreign"] = True
    core = record["facts"]["options"].get("dla")
    return options if core is None else dict(options, dla=core)


def _cache_path(store: Store, folder: str, inputs: Any) -> str:
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"), allow_nan=False)
    os.makedirs(store.path(folder), mode=0o700, exist_ok=True)
    return store.path(folder, hashlib.sha256(text.encode()).hexdigest())


def power_mode(path: str = POWER_MODE) -> Optional[str]:
    """Return the power mode that nvpmodel has recorded (``pmode:0002``); None if the file cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(200).decode("ascii", "replace").strip() or None
    except OSError:
        return None
