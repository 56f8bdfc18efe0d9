"""Whole runs on a pool: one report, each row on the board of its model, and a lost board's models begin again."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from types import SimpleNamespace
from typing import Any

import pytest

from hil.config.load import load
from hil.errors import ExitCode, UserError
from hil.plugins import activation, plugin
from hil.plugins.pools.open_pool import check_distribution
from hil.targets.target import open_target
from tests.plugins.project import SUITES, Project, toy

FAULTS = """
import os, signal, pathlib, time, pytest

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item):
    if "outputs[first" in item.nodeid and once("killed"):
        os.kill(os.getpid(), signal.SIGKILL)
    if "outputs[toy" in item.nodeid and once("unplugged"):
        given = getattr(item.config, "workerinput", None)
        if given is None:
            item.funcargs["hil_check"]._run.session().lose("the board was unplugged")
        else:  # as the controller does when a board is taken away
            pathlib.Path(given["hil_pool"], given["workerid"] + ".lease").write_text("the board was unplugged")
            time.sleep(1)

def once(name):
    try:
        pathlib.Path(name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
"""


def pool_of(project: Project, boards: int) -> None:
    """Add a pool of boards on this machine, each with a store of its own."""
    names = [f"b{number}" for number in range(boards)]
    tables = "".join(f"[targets.{name}]\nstore = '{project.root}/{name}'\n" for name in names)
    with project.toml.open("a") as file:
        file.write(f'[targets.boards]\nkind = "pool"\nmembers = {json.dumps(names)}\n{tables}')


def test_models_of_lost_boards_begin_again_and_no_row_is_lost_or_doubled(project: Project) -> None:
    """After a killed worker and an unplugged board the run passes, with each row once and the void attempts listed."""
    (project.root / "faults.py").write_text(FAULTS)
    toy(project.root / "first.onnx")
    with project.toml.open("a") as file:
        file.write('[models.first]\npath = "first.onnx"\ndata = "validation.npz"\nprecisions = ["fp32"]\n')
    pool_of(project, 3)
    project.require("contract.signature", "parity.outputs")
    ran = project.run(*SUITES, "--target=boards", "-n", "2", "-p", "faults", "-k", "signature or outputs")
    assert ran.code == 0, ran.out
    assert ran.report is not None
    judged = {(c["id"], c["model"]): c for c in ran.report["checks"] if c["verdict"] != "not_run"}
    assert sorted(judged) == [(c, m) for c in ("contract.signature", "parity.outputs") for m in ("first", "toy")]
    assert {c["verdict"] for c in judged.values()} == {"passed"}
    boards = {model: {c["board"] for (_, of), c in judged.items() if of == model} for model in ("first", "toy")}
    assert all(len(names) == 1 for names in boards.values()), boards
    attempts = {attempt["model"]: attempt for attempt in ran.report["attempts"]}
    assert len(ran.report["attempts"]) == 2
    assert "crashed or was killed" in attempts["first"]["reason"]
    assert "the board was unplugged" in attempts["toy"]["reason"]
    for model, attempt in attempts.items():
        assert [(row["id"], row["verdict"]) for row in attempt["rows"]] == [("contract.signature", "passed")]
        assert attempt["repeated"]
        assert model == "first" or attempt["board"] not in boards[model]
    lost = [name for name, board in ran.report["target"]["boards"].items() if board["lost"]]
    assert lost == [attempts["toy"]["board"]]
    assert ran.report["target"]["requested"] == ran.report["target"]["used"] == "boards"


def test_without_xdist_one_member_is_used_and_its_loss_ends_the_run(project: Project) -> None:
    """Without ``-n`` the first free member does all the work; if it is lost, the remaining rows are not run."""
    (project.root / "faults.py").write_text(FAULTS)
    pool_of(project, 2)
    ran = project.run(*SUITES, "--target=boards", "-p", "faults", "-k", "signature or outputs")
    assert ran.code == int(ExitCode.LAB_ERROR), ran.out
    assert ran.check("contract.signature")["board"] == "b0"
    assert ran.check("parity.outputs")["verdict"] == "not_run"
    assert ran.report is not None
    assert "unplugged" in ran.report["run"]["lab_error"]


@pytest.mark.parametrize(
    ("dist", "options", "refused"),
    [
        ("no", {"numprocesses": 4}, None),
        ("load", {"numprocesses": 1}, None),
        *((dist, {"numprocesses": 2}, f"--dist={dist}") for dist in ("load", "loadscope", "loadgroup", "each")),
        ("each", {"tx": ["2*popen"]}, "--dist=each"),
        ("no", {"tx": ["popen", "3*ssh=board"]}, "--tx 3"),
    ],
)
def test_a_distribution_that_may_split_a_model_is_refused(
    dist: str, options: dict[str, Any], refused: str | None
) -> None:
    """``--dist`` and workers on other machines are refused with the reason, except with one worker."""
    config = SimpleNamespace(
        stash={activation.DIST: dist}, getoption=lambda name, default=None: options.get(name, default)
    )
    spec = SimpleNamespace(kind="pool")
    run: Any = SimpleNamespace(
        pytest_config=config, is_worker=False, target="boards", config=SimpleNamespace(target=lambda _name: spec)
    )
    if refused is None:
        check_distribution(run)
        return
    with pytest.raises(UserError, match=f"{refused}.*on target 'boards'"):
        check_distribution(run)
    spec.kind = "ssh"
    check_distribution(run)  # one board: xdist's options are the user's


@pytest.mark.parametrize(("target", "workers"), [("boards", 3), ("cpu", None), ("typo", None), ("lab", 7)])
def test_auto_means_as_many_workers_as_boards(project: Project, target: str, workers: int | None) -> None:
    """``-n auto`` starts one worker for each board of a pool; for one board or an unknown target, xdist decides."""
    pool_of(project, 3)
    with project.toml.open("a") as file:
        file.write('[targets.lab]\nkind = "labgrid"\ncoordinator = "h:1"\nfilter = { board = "orin" }\nat_most = 7\n')
    options = {"hil_target": target}
    config: Any = SimpleNamespace(
        getoption=lambda name, default=None: options.get(name, default),
        invocation_params=SimpleNamespace(dir=project.root),
        rootpath=project.root,
    )
    assert plugin.pytest_xdist_auto_num_workers(config) == workers
    options.clear()
    assert plugin.pytest_xdist_auto_num_workers(config) is None


def test_ctrl_c_ends_the_waiting(project: Project) -> None:
    """While waiting, the holder is named, and Ctrl-C ends the run within seconds without a judged row."""
    pool_of(project, 1)
    spec = load(project.toml).target("b0")
    with open_target("b0", spec).start_agent() as agent:
        agent.hold("another run", "ann (pid 7)")
        command = project.command(*SUITES, "--target=boards", "--hil-wait=600", "-k", "signature", "-n", "2")
        run = subprocess.Popen(
            command, cwd=project.root, env=project.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert run.stdout is not None
        said = next(line for line in run.stdout if "Ctrl-C gives up" in line)
        assert "ann (pid 7)" in said
        time.sleep(0.3)
        run.send_signal(signal.SIGINT)
        began = time.monotonic()
        out, _ = run.communicate(timeout=60)
    assert time.monotonic() - began < 40
    assert run.returncode == int(pytest.ExitCode.INTERRUPTED), out
    assert "Traceback" not in out
    report = project.report()
    assert report is not None
    assert {check["verdict"] for check in report["checks"]} == {"not_run"}
    with open_target("b0", spec).start_agent() as agent:
        agent.hold("a later run", "bob")
