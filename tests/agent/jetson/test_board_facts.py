from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.agent.jetson import board_facts, nvpmodel
from hil.agent.machine import access, library_versions, probe
from hil.agent.machine.reader import Reader
from tests.jetson.trees import GENERATIONS, MIB, NANO, ORIN_NX, THOR

if TYPE_CHECKING:
    from pathlib import Path

EMPTY = {"groups": list, "devices": list}
"""Facts that are empty, not None, on a machine without any file, with their types."""


@pytest.mark.parametrize("jetpack", GENERATIONS)
def test_facts_of_each_generation(jetpack: str, tmp_path: Path) -> None:
    """Facts have the same form in every generation: text without NULs or line ends, numbers as numbers."""
    tree, _ = GENERATIONS[jetpack]
    facts = tree.facts(tmp_path)
    assert facts["compatible"] == list(tree.compatible)
    assert (facts["model"], facts["serial"]) == (tree.model, tree.serial)
    assert facts["nv_tegra_release"] == tree.release
    assert facts["packages"] == {"nvidia-l4t-core": tree.core, "nvidia-jetpack": tree.jetpack}
    assert facts["memory_total"] == tree.memory * MIB
    assert facts["cuda"]["toolkit"] == tree.cuda
    assert [(mode["name"], mode["tpc_mask"]) for mode in facts["power_modes"]] == list(tree.modes)
    assert facts["default_power_mode"] == tree.modes[tree.default][0]
    assert facts["power_mode"] == tree.mode
    assert facts["container"] == "none"
    assert (facts["boot_control"] or {}).get("TNSPEC") == tree.tnspec
    assert set(facts["not_readable"]) == ({"boot_control"} if tree.tnspec is None else set())


def test_a_machine_without_any_file_has_a_reason_for_each_fact(tmp_path: Path) -> None:
    """A missing fact is None with a reason; it is not zero, empty or read from this machine instead."""
    facts = board_facts.facts(str(tmp_path))
    reasons = facts.pop("not_readable")
    read_elsewhere = {"libraries", "cuinit"}
    unknown = {name for name, value in facts.items() if value is None}
    assert unknown == set(reasons) | read_elsewhere | {"default_power_mode"}
    assert set(facts) - unknown == set(EMPTY)
    assert all(reasons.values())


def test_the_device_tree_in_sysfs_is_read_too(tmp_path: Path) -> None:
    """If /proc/device-tree, which is a link, is missing, its target in sysfs is read."""
    ORIN_NX.write(tmp_path)
    (tmp_path / "sys/firmware/devicetree").mkdir(parents=True)
    shutil.move(tmp_path / "proc/device-tree", tmp_path / "sys/firmware/devicetree/base")
    assert board_facts.facts(str(tmp_path))["compatible"] == list(ORIN_NX.compatible)
    (tmp_path / "proc/device-tree").symlink_to(tmp_path / "nowhere")
    assert board_facts.facts(str(tmp_path))["serial"] == ORIN_NX.serial


def test_a_package_that_was_removed_is_not_installed(tmp_path: Path) -> None:
    """A package counts as installed only under its full name, and not if dpkg lists it as removed."""
    tree = replace(ORIN_NX, files={"var/lib/dpkg/status": ""})
    removed = "Package: nvidia-jetpack\nStatus: deinstall ok config-files\nVersion: 6.2.1+b38\n\n"
    other = "Package: nvidia-l4t-core-dev\nStatus: install ok installed\nVersion: 1\n"
    tree.files["var/lib/dpkg/status"] = removed + other
    assert tree.facts(tmp_path)["packages"] == {"nvidia-l4t-core": None, "nvidia-jetpack": None}


def test_an_empty_serial_is_not_known(tmp_path: Path) -> None:
    """A board without a serial number has only a NUL in the file: the fact is None, not an empty string."""
    facts = replace(NANO, serial="").facts(tmp_path)
    assert facts["serial"] is None
    assert "empty" in facts["not_readable"]["serial"]


@pytest.mark.parametrize("text", ["", "{", "[" * 50_000, "[]", '{"cuda": 12}', '{"cuda": {}}', "null", "\udcff"])
def test_a_damaged_version_file_gives_no_version(text: str, tmp_path: Path) -> None:
    """If the CUDA toolkit's version file is damaged, the version is None with a reason, and other facts are read."""
    tree = replace(ORIN_NX, files={})
    root = tree.write(tmp_path)
    (root / "usr/local/cuda/version.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    facts = board_facts.facts(str(root))
    assert facts["cuda"] is None
    assert facts["not_readable"]["cuda"]
    assert facts["serial"] == ORIN_NX.serial


@pytest.mark.parametrize(
    ("files", "container"),
    [
        ({".dockerenv": ""}, "docker"),
        ({"run/.containerenv": ""}, "podman"),
        ({"proc/1/cgroup": "12:memory:/kubepods/besteffort/pod1\n"}, "kubepods"),
        ({"proc/1/cgroup": "1:name=systemd:/init.scope\n"}, "none"),
        ({"proc/1/cgroup": "0::/\n"}, None),
    ],
)
def test_a_container_is_recognized_or_unknown(files: dict[str, str], container: str | None, tmp_path: Path) -> None:
    """A container engine is recognized by its files; without files and without systemd the answer is None."""
    assert replace(THOR, files=files).facts(tmp_path)["container"] == container


def test_device_nodes_have_their_group(tmp_path: Path) -> None:
    """A node has its path on the board, its group by number and name, and whether this user may use it."""
    root = THOR.write(tmp_path)
    node = root / "dev/nvgpu/igpu0/ctrl"
    node.parent.mkdir(parents=True)
    node.touch()
    os.chown(node, -1, os.getegid())
    node.chmod(0o660)
    [device] = board_facts.facts(str(root))["devices"]
    assert device["path"] == "/dev/nvgpu/igpu0/ctrl"
    assert device["group"]["number"] == os.getegid()
    assert device["usable"]
    assert access.group_name(Reader(str(root)), 44) == "video"


@given(st.text())
def test_any_configuration_is_parsed(text: str) -> None:
    """No text raises, and the default is always one of the modes."""
    modes, default = nvpmodel.parse(text)
    assert default is None or default in {mode["name"] for mode in modes}


@given(st.lists(st.sampled_from([*ORIN_NX.nvpmodel().splitlines(), "< PM_CONFIG DEFAULT=x >", "< POWER_MODEL ID= >"])))
def test_ambiguous_modes_are_left_out(lines: list[str]) -> None:
    """Modes that share a name or an id are left out."""
    modes, _ = nvpmodel.parse("\n".join(lines))
    assert len({mode["name"] for mode in modes}) == len({mode["id"] for mode in modes}) == len(modes)


def test_masks_are_read_inside_a_mode_only() -> None:
    """A mask in the definition of a parameter, outside any mode, is not a mode's mask."""
    text = "< PARAM TYPE=FILE NAME=X >\nTPC_POWER_GATING TPC_PG_MASK 7\n< POWER_MODEL ID=1 NAME=A >\n"
    assert nvpmodel.parse(text) == ([{"id": 1, "name": "A", "tpc_mask": None}], None)
    assert nvpmodel.parse(text + "TPC_POWER_GATING TPC_PG_MASK 0xf0 # four\n")[0][0]["tpc_mask"] == 240


@pytest.mark.parametrize(
    ("number", "version"), [(8502, "8.5.2"), (8001, "8.0.1"), (100900, "10.9.0"), (101602, "10.16.2"), (90300, "9.3.0")]
)
def test_versions_have_two_layouts(number: int, version: str) -> None:
    """TensorRT numbers have four digits up to version 8 and six from 10; cuDNN's changed with 9."""
    assert library_versions.decoded(number) == version


@given(st.integers(max_value=999) | st.integers(min_value=10_000_000))
def test_other_numbers_are_no_version(number: int) -> None:
    """A version number in an unknown layout gives None."""
    assert library_versions.decoded(number) is None


LIBRARIES = {
    "libcuda.so.1": """
        int cuInit(unsigned flags) { return 100; }
        int cuGetErrorName(int code, const char **name) { *name = "CUDA_ERROR_NO_DEVICE"; return 0; }
    """,
    "libnvinfer.so.10": """
        int getInferLibVersion(void) { return 100300; }
        int getInferLibMajorVersion(void) { return 10; }
        int getInferLibMinorVersion(void) { return 3; }
        int getInferLibPatchVersion(void) { return 0; }
        int getInferLibBuildVersion(void) { return 30; }
    """,
    "libcudnn.so.9": "#include <stddef.h>\nsize_t cudnnGetVersion(void) { return 90300; }",
}
"""Libraries with only the functions that are called."""


def compiled(folder: Path, name: str, source: str) -> Path:
    """Return the path of ``source`` compiled as the shared library ``name``. Skip the test without a C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    path = folder / name
    subprocess.run([compiler, "-shared", "-fPIC", "-x", "c", "-", "-o", str(path)], input=source.encode(), check=True)
    return path


def answers_of(
    folder: Path, monkeypatch: pytest.MonkeyPatch, patience: float = 20.0, **other: str
) -> library_versions.Answers:
    """Return what a probe answers with ``LIBRARIES`` installed; ``other`` replaces sources by the start of the name."""
    for name, source in LIBRARIES.items():
        chosen = next((text for start, text in other.items() if name.startswith(start)), source)
        compiled(folder, name, chosen)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(folder))
    return library_versions.LibraryProbe(patience).answers()


def test_versions_come_from_the_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries give TensorRT's version in full, cuDNN's version, and cuInit's result by code and name."""
    answers, reasons = answers_of(tmp_path, monkeypatch)
    no_device = {"code": 100, "error": "CUDA_ERROR_NO_DEVICE"}
    assert answers == {"cuinit": no_device, "nvinfer": "10.3.0.30", "cudnn": "9.3.0", "kernels": []}
    assert not reasons


def test_an_old_library_has_one_number(tmp_path: Path) -> None:
    """A TensorRT library that reports one number for its version, as 8.2 does, has that number decoded."""
    library = compiled(tmp_path, "libnvinfer.so.8", "int getInferLibVersion(void) { return 8201; }")
    assert library_versions.nvinfer_of(ctypes.CDLL(str(library))) == "8.2.1"


@pytest.mark.parametrize("call", ["abort", "crash"])
def test_a_crash_ends_only_the_library_s_own_query(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a crash, earlier answers stay, the crashed query's reason is the signal, and later queries are skipped."""
    body = {"abort": "abort();", "crash": "*(volatile int *)0 = 1;"}[call]
    source = f"#include <stdlib.h>\nint getInferLibVersion(void) {{ {body} return 1; }}"
    answers, reasons = answers_of(tmp_path, monkeypatch, libnvinfer=source)
    assert answers["cuinit"]["code"] == 100
    assert (answers["nvinfer"], answers["cudnn"]) == (None, None)
    assert "signal" in reasons["nvinfer"]
    assert reasons["cudnn"].startswith("not queried")


def test_a_library_that_hangs_has_a_time_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that never answers is waited for until the time limit only, and the reason states the limit."""
    began = time.monotonic()
    hanging = "#include <unistd.h>\nint cuInit(unsigned f) { for (;;) pause(); }"
    answers, reasons = answers_of(tmp_path, monkeypatch, patience=1.5, libcuda=hanging)
    assert answers["cuinit"] is None
    assert reasons["cuinit"] == "it did not answer within 1.5 s"
    assert time.monotonic() - began < 10


def test_output_of_a_library_is_not_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a library writes to standard output is ignored."""
    printing = (
        '#include <stdio.h>\nint cuInit(unsigned f) { puts("{\\"name\\": \\"cudnn\\"}"); fflush(stdout); return 0; }'
    )
    answers, _ = answers_of(tmp_path, monkeypatch, libcuda=printing)
    versions = {"nvinfer": "10.3.0.30", "cudnn": "9.3.0", "kernels": []}
    assert answers == {"cuinit": {"code": 0, "error": None}, **versions}


def test_architectures_with_kernels_are_those_of_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GPU architectures are read from the names of the builder's files next to the library, also through a link."""
    real = tmp_path / "real"
    real.mkdir()
    for name in ("sm86.so.10.13.3", "sm120.so.10.13.3", "sm80.so.10.13.3", "ptx.so.10.13.3"):
        (real / f"libnvinfer_builder_resource_{name}").touch()
    (tmp_path / "links").mkdir()
    compiled(real, "libnvinfer.so.10", LIBRARIES["libnvinfer.so.10"])
    (tmp_path / "links" / "libnvinfer.so.10").symlink_to(real / "libnvinfer.so.10")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path / "links"))
    answers, _ = library_versions.LibraryProbe().answers()
    assert answers["kernels"] == ["80", "86", "120"]


def test_the_reason_names_a_missing_dependency(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a library that ``libnvinfer`` needs is missing, the reason names the missing one."""
    needed = compiled(tmp_path, "libnvdla_compiler.so", "int nvdla(void) { return 0; }")
    source = "int nvdla(void); int getInferLibVersion(void) { return nvdla(); }"
    name = str(tmp_path / "libnvinfer.so.10")
    command = [
        shutil.which("cc") or "cc",
        "-shared",
        "-fPIC",
        "-x",
        "c",
        "-",
        "-o",
        name,
        f"-L{tmp_path}",
        "-lnvdla_compiler",
    ]
    subprocess.run(command, input=source.encode(), check=True)
    needed.unlink()
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    answers, reasons = library_versions.LibraryProbe().answers()
    assert answers["nvinfer"] is None
    assert reasons["nvinfer"].startswith("libnvdla_compiler.so")


def test_the_loaded_library_gives_the_version(tmp_path: Path) -> None:
    """A process reports the version of the libnvinfer that it has loaded, wherever that library is."""
    library = compiled(tmp_path, "libnvinfer.so.8", "int getInferLibVersion(void) { return 8503; }")
    code = "import ctypes\nfrom hil.agent.machine.library_versions import loaded\nassert loaded() is None\n"
    code += f"ctypes.CDLL({str(library)!r})\nprint(loaded())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "8.5.3"


def test_the_probe_merges_worker_and_supervisor_facts() -> None:
    """Facts from the worker and from the supervisor are in one table, with one table of reasons."""
    answers = {
        "numpy": "1",
        "native": {"libraries": {"nvinfer": None, "cudnn": "9.3.0"}, "cuinit": None, "not_readable": {}},
    }
    answers["native"]["not_readable"] = {"cuinit": "there is no libcuda.so.1", "nvinfer": "none"}  # type: ignore[index]  # a table
    merged = probe.with_libraries(answers)
    assert "native" not in merged
    assert merged["board"]["libraries"] == {"nvinfer": None, "cudnn": "9.3.0"}
    assert merged["board"]["not_readable"]["cuinit"] == "there is no libcuda.so.1"
    assert set(probe.with_libraries({"numpy": None})["board"]) == set(merged["board"])
