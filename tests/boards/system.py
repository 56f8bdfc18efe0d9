"""A Jetson's files outside ``/sys``: release, boot configuration, packages, power modes and NVIDIA's programs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

Facts = dict[str, Any]
PROGRAMS = Path(__file__).parent / "programs"
PLACES = {"nvpmodel": "usr/sbin", "jetson_clocks": "usr/bin", "tegrastats": "usr/bin"}
DATA = "usr/local/lib/board/facts.json"
"""The file from which NVIDIA's simulated programs read the board's facts."""


def make(root: Path, facts: Facts) -> None:
    """Create all system files of a Jetson below ``root``."""
    etc = root / "etc"
    for name, lines in facts["etc"].items():
        (etc / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    (etc / "hostname").write_text(f"{facts['hostname']}\n", encoding="utf-8")
    (etc / "hosts").write_text(f"127.0.0.1 localhost {facts['hostname']}\n", encoding="utf-8")
    (etc / "nvpmodel.conf").write_text(_power_modes(facts["power_modes"]), encoding="utf-8")
    _packages(root / "var/lib/dpkg/status", facts["packages"])
    (root / DATA).write_text(json.dumps(facts), encoding="utf-8")
    for name, folder in PLACES.items():
        place = root / folder / name
        shutil.copyfile(PROGRAMS / f"{name}.py", place)
        place.chmod(0o755)
    state = root / "var/lib/nvpmodel"
    state.mkdir(parents=True, exist_ok=True)
    (state / "status").write_text(f"pmode:{facts['power_modes']['default']:04d}", encoding="utf-8")


def _power_modes(modes: Facts) -> str:
    """Return ``/etc/nvpmodel.conf``: parameters, one section for each mode, and the default."""
    lines: list[str] = []
    for name, parameters in modes["parameters"].items():
        lines += [f"< PARAM TYPE={parameters['type']} NAME={name} >"]
        lines += [f"{argument} {place}" for argument, place in parameters["arguments"].items()]
        lines += [""]
    for mode in modes["modes"]:
        lines += [f"< POWER_MODEL ID={mode['id']} NAME={mode['name']} >", *mode["settings"], ""]
    return "\n".join([*lines, f"< PM_CONFIG DEFAULT={modes['default']} >", ""])


def _packages(status: Path, packages: dict[str, str]) -> None:
    """Append packages to dpkg's database, which the real ``dpkg-query`` reads."""
    stanza = (
        "\nPackage: {0}\nStatus: install ok installed\nPriority: standard\nSection: metapackages\nInstalled-Size: 1\n"
    )
    stanza += "Maintainer: NVIDIA Corporation\nArchitecture: arm64\nVersion: {1}\nDescription: {0}\n"
    with status.open("a", encoding="utf-8") as stream:
        for name, version in packages.items():
            stream.write(stanza.format(name, version))
