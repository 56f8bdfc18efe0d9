"""Whole runs over SSH on the places of a real labgrid coordinator."""

from __future__ import annotations

import json
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.plugins.project import SUITES, Project, toy
from tests.pools.lab import Lab
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.boards.board import SimulatedBoard

pytest.importorskip("labgrid")
MODELS = ("first", "toy")
PATIENCE = 240.0


@pytest.mark.long
def test_two_runs_at_once_on_three_boards_share_none(boards: Callable[..., SimulatedBoard], tmp_path: Path) -> None:
    """Each run uses boards of its own and judges each row once; while both run, all are held, and at the end none."""
    there = {f"b{number}": boards("jp62") for number in range(3)}
    first = there["b0"]
    public = first.key.with_suffix(".pub").read_text(encoding="ascii")
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text("".join(board.known_hosts.read_text(encoding="ascii") for board in there.values()))
    for name, board in there.items():
        board.file("/sys/firmware/devicetree/base/serial-number").write_text(f"142{name[-1]}\0", encoding="ascii")
        with board.file(f"/home/{board.user}/.ssh/authorized_keys").open("a") as file:
            file.write(public)
    lab = Lab(tmp_path, free_port())
    services = {name: {"address": board.host, "username": board.user} for name, board in there.items()}
    lab.write(services, dict.fromkeys(there, "board"))
    keys = {"kind": "labgrid", "coordinator": f"127.0.0.1:{lab.port}", "runtime": "onnxruntime"}
    keys |= {"identity": str(first.key), "known_hosts": str(known_hosts), "evidence": "emulated"}
    table = "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
    projects = [started(tmp_path / name, table) for name in ("one", "two")]
    command = [*SUITES, "--target=lab", "-n", "2", "-k", "signature or outputs"]
    try:
        lab.coordinate()
        lab.export()
        runs = [
            subprocess.Popen(
                each.command(*command),
                cwd=each.root,
                env=each.env,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for each in projects
        ]
        until, held = time.monotonic() + PATIENCE, dict[str, str]()
        while len(held) < len(there) and all(run.poll() is None for run in runs) and time.monotonic() < until:
            held = lab.by()
        outs = [run.communicate(timeout=PATIENCE)[0] for run in runs]
        lab.all_free()
    finally:
        lab.close()
    assert sorted(held) == sorted(there), outs
    assert len(set(held.values())) == len(runs)
    used = []
    for each, run, out in zip(projects, runs, outs, strict=True):
        assert run.returncode == 0, out
        report = each.report()
        assert report is not None
        judged = [(row["id"], row["model"]) for row in report["checks"] if row["verdict"] == "passed"]
        assert sorted(judged) == [
            (check, model) for check in ("contract.signature", "parity.outputs") for model in MODELS
        ]
        rows = [(row["id"], row["model"], row["precision"], row["scenario"]) for row in report["checks"]]
        assert len(rows) == len(set(rows))
        used.append({row["board"] for row in report["checks"] if row["verdict"] == "passed"})
        assert used[-1] == {
            name for name, board in report["target"]["boards"].items() if board["serial"] == f"142{name[-1]}"
        }
    assert not used[0] & used[1]


def started(root: Path, table: str) -> Project:
    """Make a project with two small models and the lab as a target."""
    root.mkdir()
    project = Project.make(root)
    toy(root / "first.onnx")
    with project.toml.open("a") as file:
        file.write('[models.first]\npath = "first.onnx"\ndata = "validation.npz"\nprecisions = ["fp32"]\n')
        file.write(f'[targets.lab]\n{table}filter = {{ kind = "board" }}\n')
    project.require("contract.signature", "parity.outputs")
    project.edit('evidence = "host"', 'evidence = "emulated"')
    return project
