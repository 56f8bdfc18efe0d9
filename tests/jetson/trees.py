"""The files of a board of each generation, written below a folder as the board has them below ``/``."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hil.agent.jetson import board_facts

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

MIB = 2**20


@dataclass(frozen=True)
class Tree:
    """One board's files; ``memory`` is MemTotal in MiB, ``modes`` are the power modes with name and TPC mask."""

    compatible: tuple[str, ...]
    model: str
    memory: int
    release: str
    core: str
    jetpack: str | None
    tnspec: str | None
    cuda: str
    modes: tuple[tuple[str, int | None], ...]
    default: int
    mode: str
    serial: str | None = "1424721012345"
    files: dict[str, str] = field(default_factory=dict)

    def write(self, root: Path) -> Path:
        """Write all files and return ``root``."""
        for name, text in {**self._texts(), **self.files}.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        program = root / "usr/sbin/nvpmodel"
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(
            f"#!/bin/sh\necho 'NVPM WARN: fan mode is not set!'\necho 'NV Power Mode: {self.mode}'\necho 0\n"
        )
        program.chmod(0o755)
        return root

    def _texts(self) -> dict[str, str]:
        texts = {
            "proc/device-tree/compatible": "".join(f"{name}\0" for name in self.compatible),
            "proc/device-tree/model": self.model + "\0",
            "proc/meminfo": f"MemTotal:       {self.memory * 1024} kB\nMemFree:        1 kB\n",
            "etc/nv_tegra_release": self.release + "\n",
            "etc/nvpmodel.conf": self.nvpmodel(),
            "var/lib/dpkg/status": self._dpkg(),
            "etc/group": "root:x:0:\nvideo:x:44:hil\nrender:x:104:hil\n",
            "proc/1/cgroup": "0::/init.scope\n",
        }
        if self.serial is not None:
            texts["proc/device-tree/serial-number"] = self.serial + "\0"
        if self.tnspec is not None:
            texts["etc/nv_boot_control.conf"] = f"TNSPEC {self.tnspec}\nTEGRA_CHIPID 0x23\n"
        if self.cuda.startswith("10"):
            texts["usr/local/cuda/version.txt"] = f"CUDA Version {self.cuda}\n"
        else:
            texts["usr/local/cuda/version.json"] = f'{{"cuda_nvcc": {{"name": "CUDA NVCC", "version": "{self.cuda}"}}}}'
        return texts

    def _dpkg(self) -> str:
        entry = "Package: {}\nStatus: install ok {}\nPriority: optional\nVersion: {}\nDescription: it\n more\n\n"
        text = entry.format("bash", "installed", "5.0") + entry.format("nvidia-l4t-core", "installed", self.core)
        return text + (entry.format("nvidia-jetpack", "installed", self.jetpack) if self.jetpack else "")

    def nvpmodel(self) -> str:
        """Return the text of /etc/nvpmodel.conf."""
        lines = [
            "# a comment",
            "< PARAM TYPE=FILE NAME=TPC_POWER_GATING >",
            "TPC_PG_MASK /sys/devices/gpu.0/tpc_pg_mask",
        ]
        for number, (name, mask) in enumerate(self.modes):
            lines += ["", f"< POWER_MODEL ID={number} NAME={name} >", "CPU_ONLINE CORE_0 1"]
            lines += [] if mask is None else [f"TPC_POWER_GATING TPC_PG_MASK {mask}"]
            lines += ["GPU MAX_FREQ 918000000"]
        return "\n".join([*lines, "", f"< PM_CONFIG DEFAULT={self.default} >", ""])

    def facts(self, root: Path, **other: Any) -> dict[str, Any]:
        """Return the raw facts that the agent reads from these files, some replaced by ``other``."""
        return {**board_facts.facts(str(self.write(root))), **other}


NANO = Tree(
    compatible=("nvidia,p3449-0000-b00+p3448-0000-b00", "nvidia,jetson-nano", "nvidia,tegra210"),
    model="NVIDIA Jetson Nano Developer Kit",
    memory=3964,
    release="# R32 (release), REVISION: 7.1, GCID: 29689809, BOARD: t186ref, EABI: aarch64, "
    "DATE: Wed Feb  2 21:33:23 UTC 2022",
    core="32.7.1-20220219090432",
    jetpack="4.6.1-b110",
    tnspec=None,
    cuda="10.2.300",
    modes=(("MAXN", None), ("5W", None)),
    default=0,
    mode="MAXN",
)
XAVIER = Tree(
    compatible=("nvidia,galen", "nvidia,jetson-xavier", "nvidia,p2822-0000+p2888-0001", "nvidia,tegra194"),
    model="Jetson-AGX",
    memory=31919,
    release="# R35 (release), REVISION: 3.1, GCID: 32790763, BOARD: t186ref, EABI: aarch64, "
    "DATE: Wed Mar 15 07:54:12 UTC 2023",
    core="35.3.1-20230319081403",
    jetpack="5.1.1-b56",
    tnspec="2888-400-0004-M.0-1-2-jetson-agx-xavier-devkit-",
    cuda="11.4.315",
    modes=(("MAXN", 0), ("MODE_10W", 1), ("MODE_15W", 0)),
    default=2,
    mode="MODE_15W",
)
ORIN_NX = Tree(
    compatible=("nvidia,p3768-0000+p3767-0000-super", "nvidia,p3767-0000", "nvidia,tegra234"),
    model="NVIDIA Jetson Orin NX Engineering Reference Developer Kit Super",
    memory=15656,
    release="# R36 (release), REVISION: 4.4, GCID: 41062509, BOARD: generic, EABI: aarch64, "
    "DATE: Mon Jun 16 16:07:13 UTC 2025",
    core="36.4.4-20250616085344",
    jetpack="6.2.1+b38",
    tnspec="3767-301-0000-M.1-1-1-jetson-orin-nano-devkit-super-",
    cuda="12.6.68",
    modes=(("MAXN_SUPER", 0), ("10W", 252), ("15W", 252), ("25W", 240), ("40W", 0)),
    default=4,
    mode="40W",
)
THOR = Tree(
    compatible=("nvidia,p4071-0000+p3834-0008", "nvidia,p3834-0008", "nvidia,tegra264"),
    model="NVIDIA Jetson AGX Thor Developer Kit",
    memory=125772,
    release="# R38 (release), REVISION: 2.0, GCID: 41844464, BOARD: generic, EABI: aarch64, "
    "DATE: Fri Aug 22 00:55:42 UTC 2025\n# KERNEL_VARIANT: oot",
    core="38.2.0-20250821174705",
    jetpack=None,
    tnspec="3834-400-0008--1-0-jetson-agx-thor-devkit-",
    cuda="13.0.48",
    modes=(("MAXN", None), ("120W", None), ("90W", None), ("70W", None)),
    default=1,
    mode="120W",
)
AGX_ORIN = Tree(
    compatible=("nvidia,p3737-0000+p3701-0005", "nvidia,p3701-0005", "nvidia,tegra234"),
    model="NVIDIA Jetson AGX Orin Developer Kit",
    memory=62817,
    release="# R39 (release), REVISION: 2.0, GCID: 45755727, BOARD: generic, EABI: aarch64, "
    "DATE: Mon Jun  1 09:28:48 PM UTC 2026\n# KERNEL_VARIANT: oot\nTARGET_USERSPACE_LIB_DIR=nvidia",
    core="39.2.0-20260601142031",
    jetpack="7.2-b187",
    tnspec="3701-500-0005-A.0-1-0-jetson-agx-orin-devkit-",
    cuda="13.2.51",
    modes=(("MAXN", 0), ("MODE_15W", 248), ("MODE_30W", 240), ("MODE_50W", 0)),
    default=2,
    mode="MODE_30W",
)
ORIN_NANO = replace(
    ORIN_NX,
    compatible=("nvidia,p3768-0000+p3767-0005", "nvidia,p3767-0005", "nvidia,tegra234"),
    model="NVIDIA Jetson Orin Nano Developer Kit",
    memory=7620,
    tnspec="3767-300-0005-X.1-1-1-jetson-orin-nano-devkit-",
    modes=(("15W", 0), ("7W", 0)),
    default=0,
    mode="15W",
)

GENERATIONS = {
    "4.6.1": (NANO, "nano-4gb"),
    "5.1.1": (XAVIER, "agx-xavier-32gb"),
    "6.2.1": (ORIN_NX, "orin-nx-16gb"),
    "7.0": (THOR, "thor-t5000"),
    "7.2": (AGX_ORIN, "agx-orin-64gb"),
}
"""By JetPack release: a board, and the name of its module in a config."""
