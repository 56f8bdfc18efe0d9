from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest

from benchmarks.ssh import parity, session, upload
from benchmarks.ssh.__main__ import PARITY_BAR, PARTS, ROUNDS, ROUNDS_QUICK, UPLOAD_BAR
from benchmarks.ssh.board import Board, board, program
from hil.config.load import load
from hil.plan import expand

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Board]:
    """A stand-in for a board."""
    with board(tmp_path / "board") as server:
        yield server


def test_the_relay_delays_both_directions_and_changes_nothing(there: Board) -> None:
    """The relay delays each direction by the requested time, forwards pieces at once, and changes no byte."""
    data = os.urandom(32 << 20)
    with socket.create_server(("127.0.0.1", 0)) as echo:

        def mirror() -> None:
            client, _ = echo.accept()
            with client:
                while piece := client.recv(1 << 16):
                    client.sendall(piece)

        threading.Thread(target=mirror, daemon=True).start()
        there.port = int(echo.getsockname()[1])
        way = there.way(0.1)
        assert way.name == "200 ms"
        with socket.create_connection(("127.0.0.1", way.port)) as client:
            began = time.monotonic()
            client.sendall(b"x")
            assert client.recv(1) == b"x"
            assert 0.2 <= time.monotonic() - began < 2
            sender = threading.Thread(target=client.sendall, args=(data,))
            sender.start()
            back = bytearray()
            began = time.monotonic()
            while len(back) < len(data):
                back += client.recv(1 << 20)
            assert bytes(back) == data
            assert time.monotonic() - began < 20  # 128 pieces that are delayed in turn would take 25 s
            sender.join()


def test_scp_gets_its_own_defaults(there: Board) -> None:
    """The options for scp have address and account only, so that its own cipher and compression apply."""
    options = " ".join(there.way(0.0).options())
    assert not [word for word in ("Cipher", "Compression", "Mac", "Control", "IPQoS") if word in options]
    command = [program("ssh"), *there.way(0.0).options(), "127.0.0.1", "echo", "here"]
    assert subprocess.run(command, check=True, capture_output=True).stdout == b"here\n"


def test_each_round_uploads_a_new_file(there: Board, tmp_path: Path) -> None:
    """In each round, both sides upload the complete new file, and both copies are deleted."""
    folder = tmp_path / "upload"
    folder.mkdir()
    pairs = upload.measure(there.way(0.0), folder, 8 * upload.MIB, 2)
    assert len(pairs) == 2
    assert all(pair.ours > 0 and pair.scp > 0 and pair.start > 0 and pair.strict < pair.ratio for pair in pairs)
    assert not list((folder / "store" / "blobs").iterdir())
    assert not (folder / "copy.bin").exists()


def test_ratios_of_a_pair() -> None:
    """An upload has scp's time divided by ours, a session the extra seconds, and parity the factor of the delay."""
    assert upload.Pair(ours=2.0, scp=4.0, start=2.0).ratio == 2.0
    assert upload.Pair(ours=2.0, scp=4.0, start=2.0).strict == 1.0
    assert session.Pair(ours=2.5, bare=2.0, uploaded=0).more == 0.5
    assert parity.Pair(near=1.0, far=1.3).ratio == 1.3
    assert UPLOAD_BAR >= 1.0
    assert PARITY_BAR <= 1.3


def test_the_project_is_valid_and_plans_parity(there: Board, tmp_path: Path) -> None:
    """The written config loads and plans one parity check in FP32 with emulated evidence."""
    data = parity.write_data(tmp_path / "digits.npz")
    config = load(session.write_config(there.way(0.0), tmp_path, data))
    rows = expand(config, "board").of("parity.outputs")
    assert [row.precision for row in rows] == ["fp32"]
    assert config.target("board").evidence == "emulated"


def test_each_part_has_a_number_of_rounds() -> None:
    """Each part has a number of rounds, for a full and for a quick run."""
    assert set(PARTS) == set(ROUNDS) == set(ROUNDS_QUICK)
