"""A labgrid coordinator and exporters on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hil.config.spec import TargetSpec
from hil.pools import stale_places

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PATIENCE = 60.0
"""The most seconds to wait for a part of labgrid to start, or for a place to become free."""


@dataclass
class Lab:
    """A coordinator and exporters; a place has the resources of the exporter's group of the same name."""

    folder: Path
    port: int
    processes: dict[str, subprocess.Popen[str]] = field(default_factory=dict)

    def spec(self, kind: str = "board", **more: Any) -> TargetSpec:
        """Return a target for the places of a kind."""
        keys = {"kind": "labgrid", "coordinator": f"127.0.0.1:{self.port}", "filter": {"kind": kind}, "user": "hil"}
        return TargetSpec.model_validate({**keys, **more})

    def start(self, name: str, ready: str, *args: str, called: str = "") -> None:
        """Start a part of labgrid, and wait until it prints ``ready``; ``called`` is its name for ``end``."""
        called = called or name
        log = self.folder / f"{called}.log"
        with log.open("w") as file:
            command = [sys.executable, "-m", f"labgrid.remote.{name}", *args]
            self.processes[called] = subprocess.Popen(command, cwd=self.folder, stdout=file, stderr=file, text=True)
        until = time.monotonic() + PATIENCE
        while ready not in log.read_text():
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.05)

    def coordinate(self) -> None:
        """Start the coordinator."""
        self.start("coordinator", "Coordinator ready", "-l", f"127.0.0.1:{self.port}")

    def write(self, boards: Mapping[str, Mapping[str, Any]], kinds: Mapping[str, str], exporter: str = "lab") -> None:
        """Write the exporter's resources and the places, each with its tag ``kind``, before the parts start."""
        groups = {name: {"NetworkService": dict(service)} for name, service in boards.items()}
        (self.folder / f"{exporter}.yaml").write_text(json.dumps(groups))
        places = self.folder / "places.yaml"
        known = json.loads(places.read_text()) if places.exists() else {}
        match = {"exporter": exporter, "cls": "*", "name": None, "rename": None}
        for name, kind in kinds.items():
            matches = [{**match, "group": name}]
            known[name] = {"tags": {"kind": kind, "lab": "test"}, "matches": matches, "aliases": [], "comment": ""}
        places.write_text(json.dumps(known))

    def export(self, name: str = "lab") -> None:
        """Start an exporter."""
        ready, where = "connected to coordinator", ("-c", f"127.0.0.1:{self.port}")
        self.start("exporter", ready, *where, "--name", name, f"{name}.yaml", called=name)

    def end(self, name: str) -> None:
        """Kill a part of labgrid."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def by(self) -> dict[str, str]:
        """Return the holder of each held place, by the place's name."""
        spec = self.spec().model_copy(update={"filter": {"lab": "test"}})
        return {each["place"]: each["by"] for each in stale_places.places_of("lab", spec) if each["by"]}

    def all_free(self) -> None:
        """Wait until no place is held."""
        until = time.monotonic() + PATIENCE
        while held := self.by():
            assert time.monotonic() < until, held
            time.sleep(0.2)

    def close(self) -> None:
        """Kill all parts."""
        for name in list(self.processes):
            self.end(name)
