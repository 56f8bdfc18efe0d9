"""JetPack 6.2 (L4T R36.4.3) on an Orin NX 16 GB in the Orin Nano carrier, flashed Super.

Release line and packages: jetson-containers' and device logs. Power modes: ``nvpmodel_p3767_0000_super.conf``.
``tegrastats`` line: a device log of R36.
"""

from __future__ import annotations

from tests.boards.generations import parts

_GPU = parts.gpu(
    "17000000.gpu",
    "platform/17000000.gpu",
    "gpu",
    [306000000, 408000000, 510000000, 612000000, 714000000, 816000000, 918000000, 1020000000, 1122000000, 1173000000],
)
_POLICIES = [parts.policy(0, 4, 729600, 1984000), parts.policy(4, 4, 729600, 1984000)]
_MODES = [
    ("MAXN_SUPER", 240, -1, -1),
    ("10W", 252, 612000000, 1190400),
    ("15W", 252, 612000000, 1420800),
    ("25W", 240, 408000000, 1497600),
    ("40W", 240, 1173000000, 1497600),
]
_RELEASE = (
    "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8 01:49:37 UTC 2025"
)
_HEAD = "{date} RAM {used}/{total}MB (lfb 9x4MB) SWAP {swapped}/{swap}MB (cached 0MB) "
_IDLE = "CPU [1%@729,4%@729,1%@729,0%@729,0%@729,0%@729,0%@729,0%@729] "
_TAIL = (
    "cpu@{t:cpu-thermal} soc2@{t:soc2-thermal} soc0@{t:soc0-thermal} gpu@{t:gpu-thermal} tj@{t:tj-thermal} "
    "soc1@{t:soc1-thermal} VDD_IN {p:VDD_IN}mW/{p:VDD_IN}mW VDD_CPU_GPU_CV {p:VDD_CPU_GPU_CV}mW/{p:VDD_CPU_GPU_CV}mW "
    "VDD_SOC {p:VDD_SOC}mW/{p:VDD_SOC}mW"
)

FACTS = parts.in_mode(
    {
        "hostname": "orin-nx",
        "python": "3.10",
        "model": "NVIDIA Jetson Orin NX Engineering Reference Developer Kit Super",
        "compatible": ["nvidia,p3768-0000+p3767-0000-super", "nvidia,p3767-0000", "nvidia,tegra234"],
        "serial": "1422323047219",
        "memory_kib": 15656 * 1024,
        "swap_kib": 7828 * 1024,
        "etc": {
            "nv_tegra_release": [
                _RELEASE,
                "# KERNEL_VARIANT: oot",
                "TARGET_USERSPACE_LIB_DIR=nvidia",
                "TARGET_USERSPACE_LIB_DIR_PATH=usr/lib/aarch64-linux-gnu/nvidia",
            ],
            "nv_boot_control.conf": [
                "TNSPEC 3767-301-0000-M.1-1-1-jetson-orin-nano-devkit-super-",
                "COMPATIBLE_SPEC 3767-000-0000--1--jetson-orin-nano-devkit-super-",
                "TEGRA_BOOT_STORAGE nvme0n1",
                "TEGRA_CHIPID 0x23",
            ],
        },
        "packages": {"nvidia-l4t-core": "36.4.3-20250107174145", "nvidia-jetpack": "6.2+b77"},
        "power_modes": parts.power_modes(_GPU, _POLICIES, 4, _MODES),
        "thermal": parts.orin_zones(),
        "cooling": parts.orin_cooling(),
        "devfreq": [_GPU],
        "cpufreq": _POLICIES,
        "hwmon": [
            parts.ina3221("1-0040", ("VDD_IN", 5048, 1043), ("VDD_CPU_GPU_CV", 5048, 142), ("VDD_SOC", 5048, 355)),
            parts.over_current(),
        ],
        "sys": {"kernel/nvpmodel_clk_cap/emc": 3199000000},
        "debug": parts.emc(2133000000, 204000000, 3199000000),
        "nvmap": True,
        "nodes": parts.NVGPU_NODES,
        "tegrastats": {
            "user": _HEAD + _IDLE + "GR3D_FREQ {load}% " + _TAIL,
            "root": _HEAD + _IDLE + "EMC_FREQ 0%@{emc} GR3D_FREQ {load}%@[{gpu}] NVDEC off NVJPG off VIC off OFA off "
            "APE 200 " + _TAIL,
        },
    }
)
