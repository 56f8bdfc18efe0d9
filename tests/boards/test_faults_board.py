"""Faults of the board: each is reported in one message, or does not affect the run."""

from __future__ import annotations

import shutil
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from hil.errors import LabError
from hil.results import Verdict
from tests.boards.faults import LAB, STORE, BoardProject, assert_clean, assert_ended_with
from tests.boards.test_state import Opens, local, messages, row_result, start

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hil.session import Session
    from tests.boards.board import SimulatedBoard
    from tests.plugins.project import Project

__all__ = ["local", "messages", "start"]
MIB = 1 << 20
DISK = "/home/hil/store"


def lab_error(act: Callable[..., object], **keys: Any) -> str:
    """Call ``act``, which must raise ``LabError``; return its message, which names the target once."""
    with pytest.raises(LabError) as caught:
        act(**keys)
    message = str(caught.value)
    assert message.count("on target 'orin'") == 1, message
    return message


def provision(session: Session) -> None:
    """Upload the model and build its engine."""
    session.engines.provisioned("toy", "fp32")


def open_and_provision(start: Opens, **keys: Any) -> None:
    """Open a session, upload the model and build its engine."""
    with closing(start(**keys)) as session:
        provision(session)


def site(board: SimulatedBoard) -> Path:
    """Return the folder of the user's packages."""
    return board.file(f"/home/hil/.local/lib/python{board.facts['python']}/site-packages")


def remove(board: SimulatedBoard, package: str) -> None:
    """Remove a package from the folder of the user's packages."""
    for place in (*site(board).glob(package), *site(board).glob(f"{package}-*"), *site(board).glob(f"{package}.libs")):
        shutil.rmtree(place)


def larger(place: Path, size: int) -> None:
    """Add ``size`` bytes of weights to the model at ``place`` that no optimizer can remove."""
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


def test_python_missing(board: SimulatedBoard, start: Opens) -> None:
    """A missing interpreter is named in the error."""
    assert "python3.99" in lab_error(start, python="/usr/bin/python3.99")
    assert_clean(board)


def test_numpy_missing(board: SimulatedBoard, tmp_path: Path) -> None:
    """Without numpy, the run ends in one message that names numpy and ``hil doctor``."""
    remove(board, "numpy")
    assert_ended_with(BoardProject.make(tmp_path, board).run("-k", "contract"), LAB, "numpy", "hil doctor")
    assert_clean(board)


@pytest.mark.parametrize("board", [("jp46", "numpy==1.13.3")], indirect=True, ids=["jp46"])
def test_stock_numpy_of_jetpack_4(board: SimulatedBoard, boards: Callable[..., SimulatedBoard], start: Opens) -> None:
    """Ubuntu 18.04's numpy 1.13 is too old for the runtime; the error names numpy and the fix."""
    shutil.copytree(site(boards("jp46")) / "onnxruntime", site(board) / "onnxruntime")
    message = lab_error(open_and_provision, start=start)
    assert "numpy" in message
    assert "hil doctor" in message
    assert_clean(board)


def test_runtime_missing(board: SimulatedBoard, start: Opens) -> None:
    """Without the runtime, the error names the runtime and ``hil doctor``."""
    remove(board, "onnxruntime")
    message = lab_error(open_and_provision, start=start)
    assert "onnxruntime" in message
    assert "hil doctor" in message
    assert_clean(board)


def test_wrong_architecture(board: SimulatedBoard, start: Opens) -> None:
    """For a runtime built for another architecture, the error names the runtime and ``hil doctor``."""
    [library] = site(board).glob("onnxruntime/capi/onnxruntime_pybind11_state*.so")
    data = bytearray(library.read_bytes())
    data[18:20] = b"\xb7\x00"  # e_machine of AArch64, in elf.h
    library.write_bytes(bytes(data))
    message = lab_error(open_and_provision, start=start)
    assert "onnxruntime" in message
    assert "hil doctor" in message
    assert_clean(board)


def test_harmless_faults(board: SimulatedBoard, tmp_path: Path) -> None:
    """A run passes whatever sshd, the login shell, native libraries and tegrastats print, and whatever the clock is."""
    board.file("/etc/banner").write_text("HIL\x01 authorised use only\n" * 20, encoding="utf-8")
    board.sshd_config(Banner="/etc/banner")
    board.clock("-3650d")
    rc = board.file("/home/hil/.bashrc")
    rc.write_text("echo Welcome to Jetson; echo careful >&2\n", encoding="utf-8")
    rc.chmod(0o644)
    assert board.ssh("true").stdout == "Welcome to Jetson\n"
    library = site(board) / "onnxruntime/__init__.py"
    prints = "import ctypes\n_c = ctypes.CDLL(None)\n_c.printf(b'loaded %d\\n', 1)\n_c.puts(b'x' * 70000)\n"
    library.write_text(prints + library.read_text(encoding="utf-8"), encoding="utf-8")
    endless = 'printf "RAM %0100000d\\n" 1; sleep 600'
    board.file("/usr/bin/tegrastats").write_text(f"#!/bin/sh\n{endless}\n", encoding="utf-8")
    ran = BoardProject.make(tmp_path, board).brief()
    assert ran.code == 0, ran.out
    assert_clean(board)


def test_store_not_writable(board: SimulatedBoard, start: Opens) -> None:
    """If the user cannot write the store, the error names its path."""
    board.shell("mkdir", "-p", "/data/store")
    assert "/data/store" in lab_error(start, store="/data/store")
    assert_clean(board, "/data/store")


def test_disk_full_on_upload(board: SimulatedBoard, local: Project, start: Opens) -> None:
    """If the disk has room for the agent but not the model, the error states that it is full; no partial file stays."""
    larger(local.root / "toy.onnx", 8 * MIB)
    board.small_disk(DISK, 4 * MIB)
    assert "full" in lab_error(open_and_provision, start=start, store=DISK)
    assert_clean(board, DISK)


def test_disk_full_on_build(board: SimulatedBoard, start: Opens) -> None:
    """If the disk has no room for the engine, the error states that the disk is full."""
    board.small_disk(DISK, 4 * MIB)
    with closing(start(store=DISK)) as session:
        session.agent.put_model(session.onnx("toy"))
        with pytest.raises(OSError, match="No space"):
            board.file(DISK).joinpath("other").write_bytes(bytes(4 * MIB))
        assert "full" in lab_error(provision, session=session)
    assert_clean(board, DISK)


def test_blob_altered(board: SimulatedBoard, start: Opens) -> None:
    """A file altered on the board is reported, deleted and never run; the next session uploads it again."""
    open_and_provision(start)
    blobs = list(board.file(f"{STORE}/blobs").iterdir())
    assert blobs
    for blob in blobs:
        data = bytearray(blob.read_bytes())
        data[len(data) // 2] ^= 0xFF
        blob.chmod(0o644)
        blob.write_bytes(bytes(data))
    with closing(start()) as session:
        message = lab_error(row_result, session=session, check="contract.signature")
    assert "damaged in the store and has been deleted" in message
    assert "run again" in message
    with closing(start()) as session:
        assert row_result(session, "contract.signature").verdict is Verdict.PASSED
    for blob in board.file(f"{STORE}/blobs").iterdir():
        assert board.shell("sha256sum", f"{STORE}/blobs/{blob.name}").stdout.split()[0] == blob.name
    assert_clean(board)


def test_energy_without_a_meter(board: SimulatedBoard, local: Project, start: Opens) -> None:
    """Without a power meter, a limit on energy is not judged."""
    board.shell("rm", "-r", "/usr/bin/tegrastats", "/sys/class/hwmon")
    local.edit('memory = "4 GiB"', 'memory = "4 GiB"\nenergy = "1 J"')
    with closing(start()) as session:
        result = row_result(session, "energy.inference")
    assert result.verdict is Verdict.NOT_RUN
    assert "the board's power cannot be read" in result.reason
    assert_clean(board)
