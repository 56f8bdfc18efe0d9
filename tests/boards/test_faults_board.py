"""Faults of the board: each is reported in one message, or does not affect the run."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.boards.faults import (
    BRIEF,
    FAILED,
    LAB,
    STORE,
    BoardProject,
    assert_clean,
    assert_ended_with,
    assert_not_passed,
    until,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.boards.board import SimulatedBoard

CONTRACT = ("-k", "contract")
MIB = 1 << 20


@pytest.fixture
def project(board: SimulatedBoard, tmp_path: Path) -> BoardProject:
    """A project that passes; the test breaks its board."""
    return BoardProject.make(tmp_path, board)


def site(board: SimulatedBoard) -> Path:
    """Return the folder of the user's packages."""
    return board.file(f"/home/hil/.local/lib/python{board.facts['python']}/site-packages")


def remove(board: SimulatedBoard, package: str) -> None:
    """Remove a package."""
    for place in (*site(board).glob(package), *site(board).glob(f"{package}-*"), *site(board).glob(f"{package}.libs")):
        shutil.rmtree(place)


def larger(project: BoardProject, size: int) -> None:
    """Add ``size`` bytes of weights to the model that no optimizer can remove."""
    place = project.local.root / "toy.onnx"
    toy = onnx.load(place)
    [gemm] = [node for node in toy.graph.node if node.op_type == "Gemm"]
    wide = np.random.default_rng(1).normal(size=(6, size // 24)).astype(np.float32)
    little = np.full((1, 1), 1e-9, np.float32)
    toy.graph.initializer.extend([numpy_helper.from_array(wide, "wide"), numpy_helper.from_array(little, "little")])
    node = onnx.helper.make_node
    nodes = [node("MatMul", ["x", "wide"], ["spread"]), node("ReduceMean", ["spread"], ["mean"], axes=[1], keepdims=1)]
    nodes += [node("Mul", ["mean", "little"], ["less"]), node("Add", ["x", "less"], ["moved"])]
    gemm.input[0] = "moved"
    del toy.graph.node[:]
    toy.graph.node.extend([*nodes, gemm])
    onnx.save(toy, place)


def test_python_missing(project: BoardProject) -> None:
    """A missing interpreter is named in the error."""
    project.target(python="/usr/bin/python3.99")
    assert_ended_with(project.run(*CONTRACT), LAB, "python3.99")
    assert_clean(project.board)


def test_numpy_missing(project: BoardProject) -> None:
    """The error names numpy and ``hil doctor``, which shows the command that installs it."""
    remove(project.board, "numpy")
    assert_ended_with(project.run(*CONTRACT), LAB, "numpy", "hil doctor")
    assert_clean(project.board)


def test_stock_numpy_of_jetpack_4(boards: Callable[..., SimulatedBoard], tmp_path: Path) -> None:
    """Ubuntu 18.04's numpy 1.13 is too old for the runtime; the error names numpy and the fix."""
    board = boards("jp46", "numpy==1.13.3")
    donor = boards("jp46")
    shutil.copytree(site(donor) / "onnxruntime", site(board) / "onnxruntime")
    assert_ended_with(BoardProject.make(tmp_path, board).run(*CONTRACT), LAB, "numpy", "hil doctor")
    assert_clean(board)


def test_runtime_missing(project: BoardProject) -> None:
    """The error names the runtime and ``hil doctor``, which shows the command that installs it."""
    remove(project.board, "onnxruntime")
    assert_ended_with(project.run(*CONTRACT), LAB, "onnxruntime", "hil doctor")
    assert_clean(project.board)


def test_wrong_architecture(project: BoardProject) -> None:
    """For a runtime built for another architecture, the error quotes the dynamic loader."""
    [library] = site(project.board).glob("onnxruntime/capi/onnxruntime_pybind11_state*.so")
    data = bytearray(library.read_bytes())
    data[18:20] = b"\xb7\x00"  # e_machine of AArch64, in elf.h
    library.write_bytes(bytes(data))
    assert_ended_with(project.run(*CONTRACT), LAB, "onnxruntime", "hil doctor")
    assert_clean(project.board)


def test_banner_and_a_shell_that_prints(project: BoardProject) -> None:
    """Output of sshd and of the login shell is ignored."""
    board = project.board
    board.file("/etc/banner").write_text("HIL\x01 authorised use only\n" * 20, encoding="utf-8")
    board.sshd_config(Banner="/etc/banner")
    rc = board.file("/home/hil/.bashrc")
    rc.write_text("echo Welcome to Jetson; echo careful >&2\n", encoding="utf-8")
    rc.chmod(0o644)
    assert board.ssh("true").stdout == "Welcome to Jetson\n"
    ran = project.brief()
    assert ran.code == 0, ran.out
    assert_clean(board)


def test_a_native_library_that_prints(project: BoardProject) -> None:
    """A native library that prints to standard output, at loading and at exit, does not break the protocol."""
    place = site(project.board) / "onnxruntime/__init__.py"
    place.write_text(
        "import ctypes\n_c = ctypes.CDLL(None)\n_c.printf(b'loaded %d\\n', 1)\n_c.puts(b'x' * 70000)\n"
        + place.read_text(encoding="utf-8"),
        encoding="utf-8",
    )
    ran = project.brief()
    assert ran.code == 0, ran.out
    assert_clean(project.board)


def test_store_not_writable(project: BoardProject) -> None:
    """If the user cannot write the store, the error names its path."""
    project.board.shell("mkdir", "-p", "/data/store")
    project.target(store="/data/store")
    assert_ended_with(project.run(*CONTRACT), LAB, "/data/store")
    assert_clean(project.board, "/data/store")


def test_disk_full_on_upload(project: BoardProject) -> None:
    """If the disk has room for the agent but not the model, the error says that it is full; no partial file stays."""
    larger(project, 8 * MIB)
    project.board.small_disk("/home/hil/store", 4 * MIB)
    project.target(store="/home/hil/store")
    assert_ended_with(project.run(*CONTRACT), LAB, "full")
    assert_clean(project.board, "/home/hil/store")


def test_disk_full_on_build(project: BoardProject) -> None:
    """If the disk has no room for the engine, the error says that it is full."""
    board, store = project.board, "/home/hil/store"
    board.small_disk(store, 4 * MIB)
    project.target(store=store)
    process = project.start(*CONTRACT)
    blobs = board.file(f"{store}/blobs")
    until(lambda: blobs.is_dir() and any(blobs.iterdir()), 30, "an upload")
    with contextlib.suppress(OSError):
        board.file(store).joinpath("other").write_bytes(bytes(4 * MIB))
    assert_ended_with(project.end(process), LAB, "full")
    assert_clean(board, store)


def test_blob_altered(project: BoardProject) -> None:
    """A file altered on the board is reported, deleted and never run; the next run uploads it again."""
    assert project.run(*CONTRACT).code == 1
    blobs = list(project.board.file(f"{STORE}/blobs").iterdir())
    assert blobs
    for blob in blobs:
        data = bytearray(blob.read_bytes())
        data[len(data) // 2] ^= 0xFF
        blob.chmod(0o644)
        blob.write_bytes(bytes(data))
    assert_ended_with(project.run(*CONTRACT), LAB, "damaged in the store and has been deleted", "run again")
    assert project.brief().code == 0
    for blob in project.board.file(f"{STORE}/blobs").iterdir():
        digest = project.board.shell("sha256sum", f"{STORE}/blobs/{blob.name}").stdout.split()[0]
        assert digest == blob.name
    assert_clean(project.board)


def test_clock_ten_years_off(project: BoardProject) -> None:
    """The board's wall clock is not used: the run passes."""
    project.board.clock("-3650d")
    ran = project.brief()
    assert ran.code == 0, ran.out
    assert_clean(project.board)


@pytest.mark.parametrize(
    "script",
    [
        "exec sleep 600",
        "while :; do head -c 100000 /dev/urandom; done",
        "exit 3",
        'printf "RAM %0100000d\\n" 1; sleep 600',
    ],
    ids=["hanging", "garbage", "failing", "endless-line"],
)
def test_tegrastats_broken(project: BoardProject, script: str) -> None:
    """A broken tegrastats does not affect the run, and no process of it stays."""
    place = project.board.file("/usr/bin/tegrastats")
    place.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    ran = project.brief()
    assert ran.code == 0, ran.out
    assert_clean(project.board)


def test_tegrastats_missing(project: BoardProject) -> None:
    """Without tegrastats, the state is read from sysfs."""
    project.board.file("/usr/bin/tegrastats").unlink()
    ran = project.brief()
    assert ran.code == 0, ran.out
    assert_clean(project.board)


def test_too_hot_at_start(project: BoardProject) -> None:
    """A board that does not cool down in time is not measured."""
    project.board.temperature(80)
    project.target(start_below="60 °C", cool_within="2 s")
    assert_ended_with(project.run(*BRIEF), LAB, "80", "60 °C")
    assert_clean(project.board)


def test_energy_without_a_meter(project: BoardProject) -> None:
    """Without a power meter, a limit on energy is not judged, and the run does not pass."""
    project.board.shell("rm", "-r", "/usr/bin/tegrastats", "/sys/class/hwmon")
    project.local.edit('memory = "4 GiB"', 'memory = "4 GiB"\nenergy = "1 J"')
    project.local.edit("require = [", 'require = ["energy.*", ')
    project.window(1)
    ran = project.run("-k", "energy")
    assert ran.code == FAILED, ran.out
    row = ran.check("energy.inference")
    assert row["verdict"] == "not_run", ran.out
    assert "the board's power cannot be read" in row["reason"]
    assert_not_passed(ran)
    assert_clean(project.board)
