"""What a build or a load needs beside the model: verified files in place of digests, and caches' places."""

import hashlib
import json
import os
from typing import Any, Dict, List, Mapping, Optional

from ..failure import PROTOCOL, Failure
from ..runtimes import runtime
from .blobs import Store

POWER_MODE = "/var/lib/nvpmodel/status"  # "pmode:0002", written by nvpmodel at every change and read at boot


def for_build(store: Store, request: Mapping[str, Any], facts: Mapping[str, Any]) -> Dict[str, Any]:
    """``request``'s options with ``paths``; every blob is hashed again and kept in use. Raises ``Failure``.

    A timing cache is TensorRT's alone and is kept by version and GPU; a calibration cache by all that the
    scales depend on: model, plugins, data and how it is drawn, algorithm, version.
    """
    options = dict(request["options"])
    if "paths" in options:
        raise Failure(PROTOCOL, "paths are the agent's to say")
    if not runtime(facts["runtime"]).compiles:
        return options
    paths: Dict[str, Any] = {"plugins": [store.verify(digest) for digest in options.get("plugins") or []]}
    version = facts["runtime_version"]
    if facts["gpu"] is not None:
        paths["timing_cache"] = _place(store, "timing", [version, facts["gpu"], facts["sm"], facts["sms"]])
    implicit = options.get("implicit")
    if implicit is not None:
        paths["data"] = {name: store.verify(digest) for name, digest in sorted(implicit["data"].items())}
        asked = [version, facts["model"], facts["calibration"], implicit, options.get("profiles")]
        asked.append(options.get("plugins"))
        paths["calibration_cache"] = _place(store, "calibration", asked)
    return dict(options, paths=paths)


def verify_external(store: Store, table: Mapping[str, Any]) -> List[str]:
    """The digests under ``external`` of a request or a record, each blob hashed again and kept in use.

    Raises ``Failure``.
    """
    digests = list(table.get("external") or [])
    for digest in digests:
        store.verify(digest)
    return digests


def for_load(store: Store, request: Mapping[str, Any], record: Mapping[str, Any]) -> Dict[str, Any]:
    """``request``'s options with what the engine was built for: its plugins' paths and its DLA core.

    ``foreign`` is set for an engine built elsewhere. External data of the engine is verified. Raises ``Failure``.
    """
    options = dict(request["options"])
    if "paths" in options:
        raise Failure(PROTOCOL, "paths are the agent's to say")
    verify_external(store, record)
    plugins = record.get("plugins") or []
    if plugins:
        options["paths"] = {"plugins": [store.verify(digest) for digest in plugins]}
    if record["facts"].get("foreign"):
        options["foreign"] = True
    core = record["facts"]["options"].get("dla")
    return options if core is None else dict(options, dla=core)


def _place(store: Store, folder: str, asked: Any) -> str:
    text = json.dumps(asked, sort_keys=True, separators=(",", ":"), allow_nan=False)
    os.makedirs(store.path(folder), mode=0o700, exist_ok=True)
    return store.path(folder, hashlib.sha256(text.encode()).hexdigest())


def power_mode(path: str = POWER_MODE) -> Optional[str]:
    """The power mode as its own service keeps it; None where there is none, or it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(200).decode("ascii", "replace").strip() or None
    except OSError:
        return None
