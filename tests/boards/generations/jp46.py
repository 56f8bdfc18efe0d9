"""JetPack 4.6.1 (L4T R32.7.1) on a Nano 4 GB developer kit.

``tegrastats`` line: jetson_stats' own test data. Power modes: ``nvpmodel_t210_jetson-nano.conf`` as quoted in public.
"""

from __future__ import annotations

from tests.boards.generations import parts

_GPU = parts.gpu(
    "57000000.gpu",
    "57000000.gpu",
    "gpu",
    [76800000 * step for step in range(1, 13)],
)
_POLICIES = [parts.policy(0, 4, 102000, 1479000)]
_RELEASE = (
    "# R32 (release), REVISION: 7.1, GCID: 29818004, BOARD: t210ref, EABI: aarch64, DATE: Sat Feb 19 17:05:08 UTC 2022"
)
_LINE = (
    "RAM {used}/{total}MB (lfb 758x4MB) SWAP {swapped}/{swap}MB (cached 0MB) IRAM 0/252kB(lfb 252kB) "
    "CPU [7%@102,1%@102,0%@102,0%@102] EMC_FREQ 3%@{emc} GR3D_FREQ {load}%@{gpu} APE 25 PLL@{t:PLL-therm} "
    "CPU@{t:CPU-therm} PMIC@{t:PMIC-Die} GPU@{t:GPU-therm} AO@{t:AO-therm} thermal@{t:thermal-fan-est} "
    "POM_5V_IN {p:POM_5V_IN}/{p:POM_5V_IN} POM_5V_GPU {p:POM_5V_GPU}/{p:POM_5V_GPU} "
    "POM_5V_CPU {p:POM_5V_CPU}/{p:POM_5V_CPU}"
)
_RAILS = {"rail_name_0": "POM_5V_IN", "rail_name_1": "POM_5V_GPU", "rail_name_2": "POM_5V_CPU"}
_POWERS = {"in_power0_input": 933, "in_power1_input": 0, "in_power2_input": 84}

FACTS = parts.in_mode(
    {
        "hostname": "nano",
        "python": "3.6",
        "model": "NVIDIA Jetson Nano Developer Kit",
        "compatible": ["nvidia,p3449-0000-b00+p3448-0000-b00", "nvidia,jetson-nano", "nvidia,tegra210"],
        "serial": "1423219057311",
        "memory_kib": 3964 * 1024,
        "swap_kib": 1982 * 1024,
        "etc": {
            "nv_tegra_release": [_RELEASE],
            "nv_boot_control.conf": ["TNSPEC 3448-400-0000-K.0-1-2-jetson-nano-devkit-mmcblk0p1"],
        },
        "packages": {"nvidia-l4t-core": "32.7.1-20220219090432", "nvidia-jetpack": "4.6.1-b110"},
        "power_modes": parts.power_modes(_GPU, _POLICIES, 0, [("MAXN", None, -1, -1), ("5W", None, 640000000, 918000)]),
        "thermal": {
            "AO-therm": parts.zone(27500, ("critical", 103000)),
            "CPU-therm": parts.zone(23500, ("passive", 97000), ("critical", 102500)),
            "GPU-therm": parts.zone(22500, ("passive", 97500), ("critical", 103000)),
            "PLL-therm": parts.zone(20500, ("critical", 103000)),
            "PMIC-Die": parts.zone(100000, ("critical", 120000)),
            "thermal-fan-est": parts.zone(23000),
        },
        "cooling": {"pwm-fan": [0, 10], "gpu-balanced": [0, 8], "cpu-balanced": [0, 37]},
        "devfreq": [_GPU],
        "cpufreq": _POLICIES,
        "hwmon": [],
        "iio": [{"name": "ina3221x", "device": "7000c400.i2c/i2c-6/6-0040", "files": _RAILS | _POWERS}],
        "sys": {"kernel/nvpmodel_emc_cap/emc_iso_cap": 0},
        "debug": parts.emc(204000000, 40800000, 1600000000),
        "nvmap": True,
        "nodes": parts.NVGPU_NODES,
        "tegrastats": {"user": _LINE.replace("@{emc}", "").replace("%@{gpu}", "%"), "root": _LINE},
    }
)
