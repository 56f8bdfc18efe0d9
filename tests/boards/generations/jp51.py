"""JetPack 5.1.1 (L4T R35.3.1) on an AGX Orin 32 GB in the developer kit's carrier.

Release line: jetson-containers'. ``tegrastats`` line: jetson_stats' own test data. Power modes:
``nvpmodel_p3701_0004.conf``.
"""

from __future__ import annotations

from tests.boards.generations import parts

_GPU = parts.gpu(
    "17000000.ga10b",
    "17000000.ga10b",
    "ga10b",
    [306000000, 408000000, 510000000, 612000000, 714000000, 816000000, 918000000, 930750000],
)
_POLICIES = [parts.policy(0, 4, 729600, 2188800), parts.policy(4, 4, 729600, 2188800)]
_RELEASE = (
    "# R35 (release), REVISION: 3.1, GCID: 32790763, BOARD: t186ref, EABI: aarch64, DATE: Wed Mar 15 07:54:12 UTC 2023"
)
_PASSIVE, _CRITICAL = ("passive", 99000), ("critical", 104500)
_ZONES = {"CPU-therm": 41437, "GPU-therm": 40906, "CV0-therm": None, "CV1-therm": None, "CV2-therm": None}
_ZONES |= {"SOC0-therm": 39093, "SOC1-therm": 38375, "SOC2-therm": 37968, "tj-therm": 41656}
_LINE = (
    "{date} RAM {used}/{total}MB (lfb 5392x4MB) SWAP {swapped}/{swap}MB (cached 0MB) "
    "CPU [0%@729,0%@729,0%@729,0%@729,0%@729,0%@729,0%@729,0%@729] EMC_FREQ 0%@{emc} GR3D_FREQ {load}%@{gpu} "
    "GR3D2_FREQ 2%@0 NVJPG1 729 VIC_FREQ 115 APE 233 CV0@{t:CV0-therm} CPU@{t:CPU-therm} SOC2@{t:SOC2-therm} "
    "SOC0@{t:SOC0-therm} CV1@{t:CV1-therm} GPU@{t:GPU-therm} tj@{t:tj-therm} SOC1@{t:SOC1-therm} "
    "CV2@{t:CV2-therm} VDD_GPU_SOC {p:VDD_GPU_SOC}mW/{p:VDD_GPU_SOC}mW VDD_CPU_CV {p:VDD_CPU_CV}mW/{p:VDD_CPU_CV}mW "
    "VIN_SYS_5V0 {p:VIN_SYS_5V0}mW/{p:VIN_SYS_5V0}mW NC 0mW/0mW"
)

FACTS = parts.in_mode(
    {
        "hostname": "agx-orin-32",
        "python": "3.8",
        "model": "NVIDIA Jetson AGX Orin Developer Kit",
        "compatible": ["nvidia,p3737-0000+p3701-0004", "nvidia,p3701-0004", "nvidia,tegra234"],
        "serial": "1424322001187",
        "memory_kib": 30536 * 1024,
        "swap_kib": 15268 * 1024,
        "etc": {
            "nv_tegra_release": [_RELEASE],
            "nv_boot_control.conf": [
                "TNSPEC 3701-300-0004-K.0-1-1-jetson-agx-orin-devkit-",
                "COMPATIBLE_SPEC 3701-300-0004--1--jetson-agx-orin-devkit-",
                "TEGRA_BOOT_STORAGE mmcblk0",
                "TEGRA_CHIPID 0x23",
            ],
        },
        "packages": {"nvidia-l4t-core": "35.3.1-20230319081403", "nvidia-jetpack": "5.1.1-b56"},
        "power_modes": parts.power_modes(
            _GPU,
            _POLICIES,
            2,
            [
                ("MAXN", 0, -1, -1),
                ("MODE_15W", 248, 408000000, 1113600),
                ("MODE_30W", 240, 612000000, 1728000),
                ("MODE_40W", 240, 816000000, 1497600),
            ],
        ),
        "thermal": {name: parts.zone(value, _PASSIVE, _CRITICAL) for name, value in _ZONES.items()},
        "cooling": parts.orin_cooling("17000000.ga10b"),
        "devfreq": [_GPU],
        "cpufreq": _POLICIES,
        "hwmon": [
            parts.ina3221("1-0040", ("VDD_GPU_SOC", 20032, 119), ("VDD_CPU_CV", 20032, 40), ("VIN_SYS_5V0", 5008, 703)),
            parts.ina3221("1-0041", ("NC", 0, 0), ("NC", 0, 0), ("NC", 0, 0)),
            parts.over_current(),
        ],
        "sys": {"kernel/nvpmodel_emc_cap/emc_iso_cap": 3199000000},
        "debug": parts.emc(204000000, 204000000, 3199000000),
        "nvmap": True,
        "nodes": parts.NVGPU_NODES,
        "tegrastats": {"user": _LINE.replace("EMC_FREQ 0%@{emc} ", "").replace("%@{gpu}", "%"), "root": _LINE},
    }
)
