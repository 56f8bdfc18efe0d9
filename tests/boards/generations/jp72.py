"""JetPack 7.2 (L4T R39.2.0) on an AGX Orin 64 GB developer kit.

Release line: a device log. ``tegrastats`` line: jetson_stats' test data of a real board, with three values a rail and
two a temperature. Power modes: ``nvpmodel_p3701_0000.conf``.
"""

from __future__ import annotations

from tests.boards.generations import parts

_GPU = parts.gpu(
    "17000000.gpu",
    "platform/bus@0/17000000.gpu",
    "gpu",
    [306000000, 408000000, 510000000, 612000000, 714000000, 816000000, 918000000, 1020000000, 1122000000, 1300500000],
)
_POLICIES = [parts.policy(first, 4, 729600, 2201600) for first in (0, 4, 8)]
_RELEASE = (
    "# R39 (release), REVISION: 2.0, GCID: 45755727, BOARD: generic, EABI: aarch64, "
    "DATE: Mon Jun  1 09:28:48 PM UTC 2026"
)
_HEAD = "{date} RAM {used}/{total}MB (lfb 1x2MB) CPU [" + ",".join(["23%@2201"] * 12) + "] "
_CLOCKS = "EMC_FREQ 3%@{emc} GR3D_FREQ {load}%@[{gpu},{gpu}] "
_ENGINES = "NVENC0 off NVDEC0 off NVJPG0 off NVJPG1 off VIC off OFA off NVDLA0 off NVDLA1 off PVA0_FREQ off APE 174 "
_ZONES = ("cpu", "soc2", "soc0", "tj", "soc1", "gpu")
_TEMPERATURES = " ".join(f"{name}@{{t:{name}-thermal}}/{{t:{name}-thermal}}" for name in _ZONES)
_RAILS = " ".join(
    f"{rail} {'/'.join([f'{{p:{rail}}}mW'] * 3)}" for rail in ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")
)

FACTS = parts.in_mode(
    {
        "hostname": "agx-orin",
        "python": "3.12",
        "model": "NVIDIA Jetson AGX Orin Developer Kit",
        "compatible": ["nvidia,p3737-0000+p3701-0005", "nvidia,p3701-0005", "nvidia,tegra234"],
        "serial": "1424123046518",
        "memory_kib": 62817 * 1024,
        "swap_kib": 0,
        "etc": {
            "nv_tegra_release": [
                _RELEASE,
                "# KERNEL_VARIANT: oot",
                "TARGET_USERSPACE_LIB_DIR=nvidia",
                "TARGET_USERSPACE_LIB_DIR_PATH=usr/lib/aarch64-linux-gnu/nvidia",
            ],
            "nv_boot_control.conf": [
                "TNSPEC 3701-500-0005-M.0-1-1-jetson-agx-orin-devkit-",
                "COMPATIBLE_SPEC 3701-300-0005--1--jetson-agx-orin-devkit-",
                "TEGRA_BOOT_STORAGE mmcblk0",
                "TEGRA_CHIPID 0x23",
            ],
        },
        "packages": {"nvidia-l4t-core": "39.2.0-20260601142848", "nvidia-jetpack": "7.2-b187"},
        "power_modes": parts.power_modes(
            _GPU,
            _POLICIES,
            2,
            [
                ("MAXN", 0, -1, -1),
                ("MODE_15W", 248, 408000000, 1113600),
                ("MODE_30W", 240, 612000000, 1728000),
                ("MODE_50W", 0, 816000000, 1497600),
            ],
        ),
        "thermal": parts.orin_zones(),
        "cooling": parts.orin_cooling(),
        "devfreq": [_GPU],
        "cpufreq": _POLICIES,
        "hwmon": [
            parts.ina3221(
                "1-0040", ("VDD_GPU_SOC", 19992, 257), ("VDD_CPU_CV", 19992, 163), ("VIN_SYS_5V0", 5000, 1100)
            ),
            parts.over_current(),
        ],
        "sys": {"kernel/nvpmodel_clk_cap/emc": 3199000000},
        "debug": parts.emc(3199000000, 204000000, 3199000000),
        "nvmap": True,
        "nodes": parts.NVGPU_NODES,
        "tegrastats": {
            "user": _HEAD + "GR3D_FREQ {load}% " + _ENGINES + _TEMPERATURES + " " + _RAILS,
            "root": _HEAD + _CLOCKS + _ENGINES + _TEMPERATURES + " " + _RAILS,
        },
    }
)
