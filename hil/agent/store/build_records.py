"""Compute the keys of engines, and keep a record of each engine that this store has built."""

import hashlib
import json
import os
import re
import time
from typing import Any, Dict, Optional

from ..failure import BUILD, PROTOCOL, Failure
from .blobs import Store, valid_digest
from .build_inputs import for_load, power_mode

FACTS = ("cuda", "gpu", "sm", "sms", "dla")
KEY = re.compile(r"[0-9a-f]{64}")


def key_facts(request: Dict[str, Any], libraries: Dict[str, Any], l4t: Optional[str]) -> Dict[str, Any]:
    """Return everything that an engine depends on. An absent fact is None, so that equal requests have equal keys.

    ``request`` has ``model`` (digest), ``precision``, ``runtime`` and ``options``. ``libraries`` is a worker's report,
    ``l4t`` the board's L4T release.
    """
    options = dict(request["options"])
    runtime = request["runtime"]
    known = _known(libraries, runtime, options.get("gpu"))
    facts: Dict[str, Any] = {
        "model": valid_digest(request["model"]),
        "precision": request["precision"],
        "calibration": options.pop("calibration", None),
        "plugins": sorted(options.pop("plugins", None) or []),
        "options": options,
        "runtime": runtime,
        "runtime_version": libraries.get("runtimes", {}).get(runtime),
        "l4t": l4t,
    }
    facts.update((name, known.get(name)) for name in FACTS)
    container = libraries.get("container")
    if container:  # its libraries build the engine
        facts.update(image=container["digest"], container=container["args_digest"])
    return facts


def _known(libraries: Dict[str, Any], runtime: str, number: Optional[int]) -> Dict[str, Any]:
    """Return the runtime's facts for GPU ``number`` (None: the first)."""
    known = dict(libraries.get("facts", {}).get(runtime, {}))
    if number and known.get("gpu") is not None:
        known.update(gpu=None, sm=None, sms=None)
        for device in libraries.get("gpus") or []:
            if device["number"] == number:
                known.update(gpu=device["name"], sm=device["sm"], sms=str(device["sms"]))
    return known


def key_of(facts: Dict[str, Any]) -> str:
    """Return the SHA-256 of the facts as canonical JSON."""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


class Records:
    """The files ``engines/KEY.json`` of a store. An engine without a record is never loaded."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def find(self, key: Any) -> Optional[Dict[str, Any]]:
        """Return the record of ``key`` if it is valid and its blob is in the store, otherwise None.

        Raise ``Failure`` if ``key`` is not a SHA-256 in hexadecimal.
        """
        if not isinstance(key, str) or not KEY.fullmatch(key):
            raise Failure(PROTOCOL, "%.80r is not an engine key" % (key,))
        try:
            with open(self._path(key)) as file:
                record = json.load(file)
            whole = record["key"] == key and key_of(record["facts"]) == key
            usable = whole and self.store.use(record["digest"])
        except (OSError, ValueError, KeyError, TypeError, Failure):
            return None
        return record if usable else None

    def need(self, key: Any) -> Dict[str, Any]:
        """Return the record of ``key``. Raise ``Failure`` if ``find`` returns None or raises it."""
        record = self.find(key)
        if record is None:
            raise Failure(BUILD, "engine %.12s was not built by this store" % key, "build it first")
        return record

    def control(self, order: Dict[str, Any]) -> Dict[str, Any]:
        """Return ``order``, a request for a control, with ``runtime``, ``path`` and ``options`` of its engine.

        ``order["key"]`` is the engine's key. If the engine is not usable, return only ``why_not``, the reason; the
        series is then timed without a control.
        """
        try:
            record = self.need(order["key"])
            path, options = self.store.verify(record["digest"]), for_load(self.store, order, record)
        except Failure as problem:
            return {"why_not": problem.message}
        return dict(order, runtime=record["facts"]["runtime"], path=path, options=options)

    def write(self, key: str, facts: Dict[str, Any], digest: str, built: Dict[str, Any]) -> Dict[str, Any]:
        """Record an engine whose blob is in the store, and return the record. Raise ``Failure`` if the write fails.

        ``built`` has ``seconds`` and ``log``. It may have ``about`` (the runtime's report), ``peak`` (memory while
        building), ``plugins`` (digests in loading order), ``external`` (digests of external data) and ``built_on`` (the
        equal board that built it).
        """
        record = {
            "key": key,
            "facts": facts,
            "digest": digest,
            "size": os.path.getsize(self.store.blob(digest)),
            "seconds": built["seconds"],
            "log": built["log"],
            "about": built.get("about") or {},
            "peak": built.get("peak"),
            "plugins": list(built.get("plugins") or []),
            "external": list(built.get("external") or []),
            "power_mode": power_mode(),  # not in the key: another mode's engine is correct, but may be slower
            "built_on": built.get("built_on"),
            "built": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        path = self._path(key)
        temporary = "%s.%d.new" % (path, os.getpid())
        try:
            with open(temporary, "w") as file:
                json.dump(record, file, sort_keys=True)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError as error:
            if os.path.exists(temporary):
                os.unlink(temporary)
            raise self.store.trouble(error) from None
        return record

    def _path(self, key: str) -> str:
        return self.store.path("engines", key + ".json")
