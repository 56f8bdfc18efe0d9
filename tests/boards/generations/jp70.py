"""JetPack 7.0 (L4T R38.2.0) on an AGX Thor developer kit (T5000).

``tegrastats`` line: NVIDIA's own example of R38.4, without GPU load, which 7.0 does not report. Power modes: an extract
of the developer guide. The clocks of the modes with fewer TPCs are invented, since no source was available.
"""

from __future__ import annotations

from tests.boards.generations import parts

_GPU = parts.gpu(
    "gpu-gpc-0",
    "platform/bus@0/d0b0000000.pcie/gpu-gpc-0-owner",
    "gpu",
    [314000000, 630000000, 945000000, 1260000000, 1575000000],
    "nvhost_podgov",
)
_NVD = parts.gpu("gpu-nvd-0", "platform/bus@0/d0b0000000.pcie/gpu-nvd-0-owner", "gpu", [315000000, 1692000000])
_BWMGR = parts.gpu("bwmgr", "platform/bus@0/bwmgr", "bwmgr", [665600000, 2750000000, 4266000000], "userspace")
_POLICIES = [parts.policy(first, 2, 972000, 2601000) for first in range(0, 14, 2)]
_RELEASE = (
    "# R38 (release), REVISION: 2.0, GCID: 41844464, BOARD: generic, EABI: aarch64, DATE: Fri Aug 22 00:55:42 UTC 2025"
)
_ZONES = {
    "cpu-thermal": 37343,
    "tj-thermal": 38875,
    "soc012-thermal": 37468,
    "gpu-thermal": 38875,
    "soc345-thermal": 37406,
}
_LINE = (
    "{date} RAM {used}/{total}MB (lfb 34x4MB) CPU ["
    + ",".join(["0%@972"] * 14)
    + "] EMC_FREQ 0%@{emc} GR3D_FREQ @[{gpu},{gpu},{gpu}] NVENC0_FREQ @314 NVDEC0_FREQ @314 NVJPG0_FREQ @314 VIC off "
    "OFA_FREQ @315 PVA0_FREQ off APE 300 cpu@{t:cpu-thermal} tj@{t:tj-thermal} soc012@{t:soc012-thermal} "
    "gpu@{t:gpu-thermal} soc345@{t:soc345-thermal} VDD_GPU {p:VDD_GPU}mW/{p:VDD_GPU}mW "
    "VDD_CPU_SOC_MSS {p:VDD_CPU_SOC_MSS}mW/{p:VDD_CPU_SOC_MSS}mW VIN_SYS_5V0 {p:VIN_SYS_5V0}mW/{p:VIN_SYS_5V0}mW "
    "VIN 19780mW/19780mW"
)
_METER = {"name": "ina238", "device": "platform/bus@0/c600000.i2c/i2c-2/2-0044"}

FACTS = parts.in_mode(
    {
        "hostname": "agx-thor",
        "python": "3.12",
        "model": "NVIDIA Jetson AGX Thor Developer Kit",
        "compatible": ["nvidia,p4071-0000+p3834-0008", "nvidia,p3834-0008", "nvidia,tegra264"],
        "serial": "1425425014083",
        "memory_kib": 125772 * 1024,
        "swap_kib": 0,
        "etc": {
            "nv_tegra_release": [_RELEASE, "# KERNEL_VARIANT: oot"],
            "nv_boot_control.conf": [
                "TNSPEC 3834-0008-0000--1--jetson-agx-thor-devkit-",
                "COMPATIBLE_SPEC 3834-0008-0000--1--jetson-agx-thor-devkit-",
                "TEGRA_CHIPID 0x26",
            ],
        },
        "packages": {"nvidia-l4t-core": "38.2.0-20250821174705", "nvidia-jetpack": "7.0-b128"},
        "power_modes": parts.power_modes(
            _GPU,
            _POLICIES,
            1,
            [
                ("MAXN", 0, -1, -1),
                ("120W", 0, 1575000000, 2601000),
                ("90W", 960, 1260000000, 2601000),
                ("70W", 960, 945000000, 2601000),
            ],
        ),
        "thermal": {
            name: parts.zone(value, ("passive", 109000), ("critical", 115000)) for name, value in _ZONES.items()
        },
        "cooling": {
            "pwm-fan": [0, 4],
            **{f"{name}-throttle-alert": [0, 2] for name in ("cpu", "gpu", "soc012", "soc345")},
            "devfreq-gpu-gpc-0": [0, 169],
            "devfreq-gpu-nvd-0": [0, 182],
        },
        "devfreq": [_GPU, _NVD, _BWMGR],
        "cpufreq": _POLICIES,
        "hwmon": [
            parts.ina3221(
                "2-0040", ("VDD_GPU", 19968, 98), ("VDD_CPU_SOC_MSS", 19968, 295), ("VIN_SYS_5V0", 4992, 1129)
            ),
            {**_METER, "files": {"in1_input": 19968, "curr1_input": 990, "power1_input": 19780000}},
        ],
        "sys": {},
        "debug": {},
        "nvmap": True,
        "nodes": parts.THOR_NODES,
        "tegrastats": {"user": _LINE, "root": _LINE},
    }
)
