"""Every line format that tegrastats prints, checked value by value in base units."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.agent.jetson.tegrastats import LONGEST, parse
from tests.fuzz import tegrastats as fuzzer

MIB, KIB, MHZ = 2**20, 2**10, 1e6


def core(load: float, mhz: float | None = None) -> dict[str, Any]:
    """Return a CPU core that is on."""
    return {"on": True, "load": load, "hz": None if mhz is None else mhz * MHZ}


def engine(load: float | None, *mhz: float | None) -> dict[str, Any]:
    """Return the expected values of a hardware engine, such as GR3D, that is on."""
    return {"on": True, "load": load, "hz": [None if value is None else value * MHZ for value in mhz]}


def memory(used: int, total: int, unit: int = MIB, **more: int) -> dict[str, int]:
    """Return ``used`` and ``total`` in bytes; in ``more``, only ``blocks`` is not multiplied by ``unit``."""
    return {"used": used * unit, "total": total * unit} | {k: v if k == "blocks" else v * unit for k, v in more.items()}


OFF_CORE = {"on": False, "load": None, "hz": None}
OFF: dict[str, Any] = {"on": False, "load": None, "hz": []}

NANO = (
    "RAM 331/3964MB (lfb 758x4MB) SWAP 0/1982MB (cached 0MB) IRAM 0/252kB(lfb 252kB) CPU [7%@102,3%@102,0%@102,1%@102] "
    "EMC_FREQ 3%@204 GR3D_FREQ 12%@76 APE 25 PLL@20.5C CPU@23.5C PMIC@100C GPU@22.5C AO@27.5C thermal@23C "
    "POM_5V_IN 933/933 POM_5V_GPU 0/0 POM_5V_CPU 84/105"
)
NANO_USER = (
    "RAM 2015/3964MB (lfb 98x4MB) SWAP 29/1982MB (cached 3MB) CPU [6%@102,5%@102,4%@102,3%@102] EMC_FREQ 0% "
    "GR3D_FREQ 0% PLL@28C CPU@31.5C PMIC@100C GPU@30.5C AO@36C thermal@31.25C POM_5V_IN 1388/1388 POM_5V_GPU 122/122 "
    "POM_5V_CPU 163/163"
)
TX2 = (
    "RAM 2344/7852MB (lfb 1154x4MB) SWAP 0/3926MB (cached 0MB) CPU [1%@345,off,off,1%@345,0%@345,2%@345] "
    "EMC_FREQ 4%@1600 GR3D_FREQ 0%@624 APE 150 PLL@37.5C MCPU@37.5C PMIC@100C Tboard@32C GPU@35C BCPU@37.5C "
    "thermal@36.5C Tdiode@34.25C VDD_SYS_GPU 152/152 VDD_SYS_SOC 687/687 VDD_4V0_WIFI 0/0 VDD_IN 3056/3056 "
    "VDD_SYS_CPU 152/152 VDD_SYS_DDR 883/883"
)
XAVIER = (
    "RAM 408/15823MB (lfb 3702x4MB) SWAP 0/7911MB (cached 0MB) CPU [4%@2265,0%@2265,1%@2265,0%@2265,off,off,off,off] "
    "EMC_FREQ 0%@2133 GR3D_FREQ 5%@1377 APE 150 MTS fg 0% bg 0% AO@26.5C GPU@28C Tdiode@30C PMIC@100C AUX@26.5C "
    "CPU@28.5C thermal@27.6C Tboard@27C GPU 1155/1155 CPU 385/385 SOC 2502/2502 CV 0/0 VDDRQ 192/192 SYS5V 2692/2692"
)
ORIN_R35 = (
    "01-03-2023 16:07:54 RAM 2257/30536MB (lfb 5392x4MB) SWAP 0/15268MB (cached 0MB) CPU [0%@729,off,13%@729,5%@2201] "
    "EMC_FREQ 0%@204 GR3D_FREQ 3%@0 GR3D2_FREQ 2%@0 NVJPG1 729 VIC_FREQ 115 APE 233 CV0@-256C CPU@41.437C Tboard@32C "
    "SOC2@38.031C Tdiode@32.25C SOC0@38.281C CV1@-256C GPU@-256C tj@41.656C SOC1@37.312C CV2@-256C "
    "VDD_GPU_SOC 2390mW/2390mW VDD_CPU_CV 796mW/796mW VIN_SYS_5V0 3522mW/3522mW NC 0mW/0mW"
)
ORIN_NANO_R36 = (
    "05-05-2025 06:05:39 RAM 2639/7620MB (lfb 9x4MB) SWAP 0/3810MB (cached 0MB) "
    "CPU [1%@729,4%@729,0%@729,2%@1510,off,off] GR3D_FREQ 0% cpu@44.156C soc2@43.781C soc0@44.687C "
    "gpu@45.968C tj@45.968C soc1@45.312C VDD_IN 5263mW/5263mW "
    "VDD_CPU_GPU_CV 717mW/717mW VDD_SOC 1794mW/1794mW"
)
ORIN_R36_ROOT = (
    "05-05-2025 06:05:40 RAM 6021/7620MB (lfb 2x2MB) CPU [61%@1728,40%@1728] EMC_FREQ 61%@2133 GR3D_FREQ 99%@[612] "
    "NVDEC off NVJPG off VIC off OFA off APE 200 cpu@57.125C gpu@58.25C VDD_IN 16321mW/11204mW "
    "VDD_CPU_GPU_CV 7104mW/4944mW"
)
THOR_R38 = (
    "04-21-2026 15:50:52 RAM 105265/125772MB (lfb 34x4MB) CPU [0%@972,2%@972,1%@972] EMC_FREQ 0%@2750 "
    "GR3D_FREQ @[314,314,314] NVENC0_FREQ @314 NVDEC0_FREQ @315 VIC off OFA_FREQ @315 PVA0_FREQ off APE 300 "
    "cpu@37.343C tj@38.875C soc012@37.468C gpu@38.875C soc345@37.406C VDD_GPU 1962mW/1962mW "
    "VDD_CPU_SOC_MSS 5887mW/5887mW VIN_SYS_5V0 5635mW/5635mW VIN 19780mW/19780mW"
)
ORIN_R39 = (
    "07-25-2026 09:08:28 RAM 20642/62817MB (lfb 1x2MB) CPU [23%@2201,1%@2201] EMC_FREQ 3%@3199 "
    "GR3D_FREQ 12%@[1300,1300] NVENC0 off "
    "NVDEC0 off NVJPG0 off VIC0 off OFA0 off NVDLA0 off NVDLA1 off PVA0 off APE 174 cpu@52.968C/52.968C "
    "soc0@50.5C/51C gpu@47.625C/47.625C VDD_GPU_SOC 5139mW/5139mW/5139mW VDD_CPU_CV 3268mW/3268mW/3268mW "
    "VIN_SYS_5V0 5500mW/5500mW/5500mW"
)

SAMPLES: dict[str, tuple[str, dict[str, Any]]] = {
    "R32 Nano, root": (
        NANO,
        {
            "ram": memory(331, 3964, block=4, blocks=758),
            "swap": memory(0, 1982, cached=0),
            "iram": memory(0, 252, KIB, block=252),
            "cpu": [core(0.07, 102), core(0.03, 102), core(0.0, 102), core(0.01, 102)],
            "engines": {"EMC": engine(0.03, 204), "GR3D": engine(0.12, 76), "APE": engine(None, 25)},
            "temperature": {"PLL": 20.5, "CPU": 23.5, "PMIC": 100.0, "GPU": 22.5, "AO": 27.5, "thermal": 23.0},
            "power": {"POM_5V_IN": 0.933, "POM_5V_GPU": 0.0, "POM_5V_CPU": 0.084},
        },
    ),
    "R32 Nano, user": (
        NANO_USER,
        {
            "ram": memory(2015, 3964, block=4, blocks=98),
            "swap": memory(29, 1982, cached=3),
            "cpu": [core(0.06, 102), core(0.05, 102), core(0.04, 102), core(0.03, 102)],
            "engines": {"EMC": engine(0.0), "GR3D": engine(0.0)},
            "temperature": {"PLL": 28.0, "CPU": 31.5, "PMIC": 100.0, "GPU": 30.5, "AO": 36.0, "thermal": 31.25},
            "power": {"POM_5V_IN": 1.388, "POM_5V_GPU": 0.122, "POM_5V_CPU": 0.163},
        },
    ),
    "R32 TX2": (
        TX2,
        {
            "ram": memory(2344, 7852, block=4, blocks=1154),
            "swap": memory(0, 3926, cached=0),
            "cpu": [core(0.01, 345), OFF_CORE, OFF_CORE, core(0.01, 345), core(0.0, 345), core(0.02, 345)],
            "engines": {"EMC": engine(0.04, 1600), "GR3D": engine(0.0, 624), "APE": engine(None, 150)},
            "temperature": {
                "PLL": 37.5,
                "MCPU": 37.5,
                "PMIC": 100.0,
                "Tboard": 32.0,
                "GPU": 35.0,
                "BCPU": 37.5,
                "thermal": 36.5,
                "Tdiode": 34.25,
            },
            "power": {
                "VDD_SYS_GPU": 0.152,
                "VDD_SYS_SOC": 0.687,
                "VDD_4V0_WIFI": 0.0,
                "VDD_IN": 3.056,
                "VDD_SYS_CPU": 0.152,
                "VDD_SYS_DDR": 0.883,
            },
        },
    ),
    "R32 AGX Xavier": (
        XAVIER,
        {
            "ram": memory(408, 15823, block=4, blocks=3702),
            "swap": memory(0, 7911, cached=0),
            "cpu": [core(0.04, 2265), core(0.0, 2265), core(0.01, 2265), core(0.0, 2265), *[OFF_CORE] * 4],
            "engines": {"EMC": engine(0.0, 2133), "GR3D": engine(0.05, 1377), "APE": engine(None, 150)},
            "mts": {"foreground": 0.0, "background": 0.0},
            "temperature": {
                "AO": 26.5,
                "GPU": 28.0,
                "Tdiode": 30.0,
                "PMIC": 100.0,
                "AUX": 26.5,
                "CPU": 28.5,
                "thermal": 27.6,
                "Tboard": 27.0,
            },
            "power": {"GPU": 1.155, "CPU": 0.385, "SOC": 2.502, "CV": 0.0, "VDDRQ": 0.192, "SYS5V": 2.692},
        },
    ),
    "R35 AGX Orin": (
        ORIN_R35,
        {
            "time": "01-03-2023 16:07:54",
            "ram": memory(2257, 30536, block=4, blocks=5392),
            "swap": memory(0, 15268, cached=0),
            "cpu": [core(0.0, 729), OFF_CORE, core(0.13, 729), core(0.05, 2201)],
            "engines": {
                "EMC": engine(0.0, 204),
                "GR3D": engine(0.03, 0),
                "GR3D2": engine(0.02, 0),
                "NVJPG1": engine(None, 729),
                "VIC": engine(None, 115),
                "APE": engine(None, 233),
            },
            "temperature": {
                "CV0": None,
                "CPU": 41.437,
                "Tboard": 32.0,
                "SOC2": 38.031,
                "Tdiode": 32.25,
                "SOC0": 38.281,
                "CV1": None,
                "GPU": None,
                "tj": 41.656,
                "SOC1": 37.312,
                "CV2": None,
            },
            "power": {"VDD_GPU_SOC": 2.39, "VDD_CPU_CV": 0.796, "VIN_SYS_5V0": 3.522, "NC": 0.0},
        },
    ),
    "R36 Orin Nano, user": (
        ORIN_NANO_R36,
        {
            "time": "05-05-2025 06:05:39",
            "ram": memory(2639, 7620, block=4, blocks=9),
            "swap": memory(0, 3810, cached=0),
            "cpu": [core(0.01, 729), core(0.04, 729), core(0.0, 729), core(0.02, 1510), OFF_CORE, OFF_CORE],
            "engines": {"GR3D": engine(0.0)},
            "temperature": {"cpu": 44.156, "soc2": 43.781, "soc0": 44.687, "gpu": 45.968, "tj": 45.968, "soc1": 45.312},
            "power": {"VDD_IN": 5.263, "VDD_CPU_GPU_CV": 0.717, "VDD_SOC": 1.794},
        },
    ),
    "R36 Orin, root": (
        ORIN_R36_ROOT,
        {
            "time": "05-05-2025 06:05:40",
            "ram": memory(6021, 7620, block=2, blocks=2),
            "cpu": [core(0.61, 1728), core(0.4, 1728)],
            "engines": {
                "EMC": engine(0.61, 2133),
                "GR3D": engine(0.99, 612),
                "NVDEC": OFF,
                "NVJPG": OFF,
                "VIC": OFF,
                "OFA": OFF,
                "APE": engine(None, 200),
            },
            "temperature": {"cpu": 57.125, "gpu": 58.25},
            "power": {"VDD_IN": 16.321, "VDD_CPU_GPU_CV": 7.104},
        },
    ),
    "R38 AGX Thor": (
        THOR_R38,
        {
            "time": "04-21-2026 15:50:52",
            "ram": memory(105265, 125772, block=4, blocks=34),
            "cpu": [core(0.0, 972), core(0.02, 972), core(0.01, 972)],
            "engines": {
                "EMC": engine(0.0, 2750),
                "GR3D": engine(None, 314, 314, 314),
                "NVENC0": engine(None, 314),
                "NVDEC0": engine(None, 315),
                "VIC": OFF,
                "OFA": engine(None, 315),
                "PVA0": OFF,
                "APE": engine(None, 300),
            },
            "temperature": {"cpu": 37.343, "tj": 38.875, "soc012": 37.468, "gpu": 38.875, "soc345": 37.406},
            "power": {"VDD_GPU": 1.962, "VDD_CPU_SOC_MSS": 5.887, "VIN_SYS_5V0": 5.635, "VIN": 19.78},
        },
    ),
    "R39 AGX Orin": (
        ORIN_R39,
        {
            "time": "07-25-2026 09:08:28",
            "ram": memory(20642, 62817, block=2, blocks=1),
            "cpu": [core(0.23, 2201), core(0.01, 2201)],
            "engines": {
                "EMC": engine(0.03, 3199),
                "GR3D": engine(0.12, 1300, 1300),
                "APE": engine(None, 174),
                **dict.fromkeys(("NVENC0", "NVDEC0", "NVJPG0", "VIC0", "OFA0", "NVDLA0", "NVDLA1", "PVA0"), OFF),
            },
            "temperature": {"cpu": 52.968, "soc0": 50.5, "gpu": 47.625},
            "power": {"VDD_GPU_SOC": 5.139, "VDD_CPU_CV": 3.268, "VIN_SYS_5V0": 5.5},
        },
    ),
}


@pytest.mark.parametrize("release", SAMPLES)
def test_each_release_s_line_is_parsed_in_full(release: str) -> None:
    """Every value of the line is parsed, and no word is unknown."""
    line, expected = SAMPLES[release]
    assert parse(line) == expected


def test_a_malformed_field_does_not_hide_others() -> None:
    """Words that are not part of a field are listed as unknown, and the fields around them are parsed."""
    fields = parse(THOR_R38.replace("2%@972,1%@972", "..").replace("NVDEC0_FREQ @315", "..."))
    expected = SAMPLES["R38 AGX Thor"][1]
    assert fields["unknown"] == ["CPU", "[0%@972,..]", "..."]
    assert fields["temperature"] == expected["temperature"]
    assert fields["power"] == expected["power"]
    assert fields["engines"]["GR3D"] == expected["engines"]["GR3D"]


@pytest.mark.parametrize(
    ("text", "key", "name", "value"),
    [
        ("GR3D_FREQ 45%", "engines", "GR3D", engine(0.45)),
        ("GR3D_FREQ 45%@318", "engines", "GR3D", engine(0.45, 318)),
        ("GR3D_FREQ 45%@[318,off]", "engines", "GR3D", engine(0.45, 318, None)),
        ("GR3D_FREQ @[300,600]", "engines", "GR3D", engine(None, 300, 600)),
        ("GR3D_FREQ off", "engines", "GR3D", OFF),
        ("MSENC 268", "engines", "MSENC", engine(None, 268)),
        ("VDD_IN 5263mW", "power", "VDD_IN", 5.263),
        ("VDD_IN 5263mW/1mW/9mW", "power", "VDD_IN", 5.263),
        ("VDD_IN 5263/1", "power", "VDD_IN", 5.263),
        ("gpu@-5.5C", "temperature", "gpu", -5.5),
        ("gpu@-256C/-256C", "temperature", "gpu", None),
        ("gpu@52C/60C", "temperature", "gpu", 52.0),
    ],
)
def test_each_form_of_a_field(text: str, key: str, name: str, value: object) -> None:
    """Of several powers or temperatures, the first is read; an engine that is off has no load and no clock."""
    fields = parse(f"RAM 1/2MB {text}")
    assert fields[key] == {name: value}
    assert "unknown" not in fields


@pytest.mark.parametrize(
    "text",
    [
        *("VDD_IN -5mW/3mW", "VDD_IN 5263W", "VDD_IN 1e3mW", "VDD_IN nanmW/1mW", "VDD_IN 5mW/4mW/3mW/2mW", "VDD_IN"),
        *("GR3D_FREQ 101%", "GR3D_FREQ -3%", "GR3D_FREQ 3%@", "GR3D_FREQ @", "GR3D_FREQ 3%@[1,2", "GR3D_FREQ 3%@-5"),
        *("gpu@C", "gpu@1e3C", "gpu@nanC", "@45C", "9gpu@45C", "VDD_IN 1234567890mW", "GPU@99999C", "VDD_IN \u0663mW"),
    ],
)
def test_an_invalid_value_is_unknown(text: str) -> None:
    """A malformed, negative or overlong value gives no reading, and its words are listed as unknown."""
    fields = parse(f"RAM 1/2MB {text}")
    assert set(fields) == {"ram", "unknown"}
    assert fields["unknown"] == text.split()


@pytest.mark.parametrize(
    "line", ["", "   ", "disk 5/10 VDD_IN 5000mW/5000mW GPU@40C", "tegrastats: not permitted", "\0" * 50]
)
def test_a_line_without_ram_gives_nothing(line: str) -> None:
    """A line without a RAM field is not from tegrastats and gives no reading."""
    assert not set(parse(line)) - {"unknown"}


def test_a_repeated_name_counts_once() -> None:
    """Of two values with one name the first is used, and the second is listed as unknown."""
    fields = parse("RAM 1/2MB VDD_IN 5mW/5mW VDD_IN 900mW/900mW gpu@40C gpu@90C")
    assert fields["power"] == {"VDD_IN": 0.005}
    assert fields["temperature"] == {"gpu": 40.0}
    assert fields["unknown"] == ["VDD_IN", "900mW/900mW", "gpu@90C"]


def test_an_overlong_line_is_cut() -> None:
    """Text beyond the longest valid line is ignored, and parsing takes little time."""
    began = time.process_time()
    fields = parse("RAM 1/2MB " + "x" * LONGEST + " VDD_IN 5mW/5mW" + " 1%@[1," * 200_000)
    assert "power" not in fields
    assert time.process_time() - began < 0.5


@given(st.text(max_size=400))
def test_any_text_is_parsed_or_unknown(text: str) -> None:
    """No text raises, and the result is JSON without NaN."""
    json.dumps(parse("RAM 1/2MB " + text), allow_nan=False)
    json.dumps(parse(text), allow_nan=False)


def test_mutated_lines_are_parsed_safely() -> None:
    """2,000 mutated lines raise nothing and give only finite values, and no power that is not in the line."""
    fields = fuzzer.fuzz(2000, seed=1)
    assert fields["read"] > 500
    assert math.isclose(fields["read"] + fields["nothing"], 2000)
