"""Places of a real labgrid coordinator: held by one run at a time, released whatever happens, lost with a reason."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from hil.cli import main
from hil.errors import ExitCode, LabError, TargetHeld, TargetUnreachable, UserError
from hil.pools import stale_places
from hil.pools.keeper_process import ask, holder_of_run, host_name
from hil.pools.places import Places
from hil.pools.pool import Pool
from tests.plugins.project import Project
from tests.pools.lab import PATIENCE, Lab
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytest.importorskip("labgrid")
HOLD = """
import sys, time
from hil.config.spec import TargetSpec
from hil.pools.places import Places
from hil.pools.pool import Pool
spec = TargetSpec.model_validate_json(sys.argv[1])
pool = Pool("lab", Places("lab", spec, "killed", 0.0, print), 1)
pool.start()
pool.wait()
print("holds", pool.take("gw0").name, flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Start a coordinator and an exporter: b1 to b3 have a board, ``empty`` has no resource; all tests share them."""
    there = Lab(tmp_path_factory.mktemp("lab"), free_port())
    boards = {name: {"address": f"{name}.test", "username": "lab"} for name in ("b1", "b2", "b3")}
    there.write(boards, {**dict.fromkeys(boards, "board"), "empty": "empty"})
    there.coordinate()
    there.export()
    yield there
    there.close()


def opened(lab: Lab, wanted: int, run: str, kind: str = "board", wait: float = 0.0) -> Pool:
    """Return a pool of the lab's places, after it has obtained them or failed to."""
    pool = Pool("lab", Places("lab", lab.spec(kind), run, wait, lambda _line: None), wanted)
    pool.start()
    pool.wait()
    return pool


def until(true: Callable[[], object]) -> None:
    """Wait until ``true`` returns a true value."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_two_runs_share_three_boards_and_leave_none(lab: Lab) -> None:
    """Two runs that need two boards each hold three together; waiting names the holders; all are released."""
    first, second = opened(lab, 2, "run-a"), opened(lab, 2, "run-b")
    until(lambda: not (first._working or second._working))  # noqa: SLF001 - a test may look
    names = [pool.take(user) for pool in (first, second) for user in ("gw0", "gw1")]
    held = [board for board in names if board is not None]
    assert sorted(board.name for board in held) == ["b1", "b2", "b3"]
    assert {board.way["host"] for board in held} == {"b1.test", "b2.test", "b3.test"}
    assert {(board.way["user"], board.way["port"]) for board in held} == {("hil", 22)}
    third = opened(lab, 1, "run-c")
    assert isinstance(third.error(), TargetHeld)
    assert holder_of_run("run-a") in str(third.error())
    assert "waiting for 1 more place: place 1 of 1 in the queue" in str(third.error())
    for pool in (third, second, first):
        pool.close()
    assert not lab.by()


def test_a_place_that_is_taken_away_is_lost_with_the_name_of_who_has_it(lab: Lab) -> None:
    """A place that is released during a run is lost with the reason, and is held again only if the run asks for it."""
    pool, told = opened(lab, 1, "kicked"), list[tuple[str, str]]()
    pool.on_loss = lambda user, reason: told.append((user, reason))
    board = pool.take("gw0")
    assert board is not None
    ask(lab.spec(), "lab", only="release", place=board.name, by=holder_of_run("kicked"))
    until(lambda: told)
    assert told[0][0] == "gw0"
    assert "taken away" in told[0][1]
    assert board.name in told[0][1]
    time.sleep(1.5)
    assert not lab.by()  # it is not taken again before the run asks for another
    pool.lose("gw0", told[0][1])
    until(lambda: pool.take("gw0"))
    pool.close()
    assert not lab.by()


def test_a_place_without_resources_is_no_board(lab: Lab) -> None:
    """A place without a NetworkService is refused by name, and released."""
    pool = opened(lab, 1, "empty", "empty")
    assert pool.take("gw0") is None
    assert "empty cannot be used: it has 0 NetworkService resources" in str(pool.error())
    pool.close()
    assert not lab.by()


def test_a_filter_that_matches_nothing_is_the_users_mistake(lab: Lab) -> None:
    """Tags that no place has end the run at once, not after a wait."""
    pool = opened(lab, 1, "typo", "bord", wait=60.0)
    assert isinstance(pool.error(), UserError)
    assert "kind=bord" in str(pool.error())
    pool.close()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_leaves_no_place_held(lab: Lab, how: signal.Signals) -> None:
    """If the process that holds places is killed, they are free within seconds."""
    command = [sys.executable, "-c", HOLD, json.dumps(lab.spec().model_dump(exclude_unset=True))]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    assert run.stdout.readline().startswith("holds")
    assert lab.by()
    run.send_signal(how)
    run.communicate()
    lab.all_free()


def test_what_a_power_cut_left_is_named_and_freed(lab: Lab) -> None:
    """``release`` refuses a live run's place with labgrid's command; only places of this host's dead runs are stale."""
    pool = opened(lab, 1, "alive")
    board = pool.take("gw0")
    assert board is not None
    with pytest.raises(LabError, match=f"labgrid-client -x 127.0.0.1:{lab.port} -p {board.name} release --kick"):
        stale_places.release(board.name, {"lab": lab.spec()})
    keeper = pool._source._keeper  # type: ignore[attr-defined] # noqa: SLF001 - as a power cut would
    os.kill(keeper.pid, signal.SIGKILL)
    pool.close()
    lab.all_free()  # a dead keeper's places are released by the run
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    assert stale_places.is_stale(f"{host_name()}/ann-hil-{dead.pid}-abc")
    assert not stale_places.is_stale(f"{host_name()}/ann-hil-{os.getpid()}-abc")
    assert not stale_places.is_stale(f"elsewhere/ann-hil-{dead.pid}-abc")
    assert not stale_places.is_stale(f"{host_name()}/ann")


def test_an_exporter_and_a_coordinator_that_go_away_are_losses(lab: Lab) -> None:
    """A place without its exporter is lost, and so are all places if the coordinator restarts."""
    pool, told = opened(lab, 1, "gone"), list[str]()
    pool.on_loss = lambda _user, reason: told.append(reason)
    assert pool.take("gw0") is not None
    lab.end("lab")
    until(lambda: told)
    assert "exporter is gone" in told[0]
    pool.close()
    lab.export()
    pool = opened(lab, 1, "restart", wait=20.0)
    pool.on_loss = lambda _user, reason: told.append(reason)
    assert pool.take("gw0") is not None
    lab.end("coordinator")
    lab.end("lab")
    lab.coordinate()
    lab.export()
    until(lambda: len(told) == 2)
    assert "taken away; now nobody holds it" in told[1]
    pool.close()
    assert not lab.by()


def test_a_coordinator_that_does_not_answer_is_unreachable(tmp_path: Path) -> None:
    """A coordinator that does not answer raises ``TargetUnreachable``, which allows a fallback, with its address."""
    there = Lab(tmp_path, free_port())
    pool = opened(there, 1, "nobody")
    assert isinstance(pool.error(), TargetUnreachable)
    assert f"127.0.0.1:{there.port}" in str(pool.error())
    pool.close()


def test_the_command_shows_who_holds_places_and_frees_those_of_dead_runs(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``--check`` lists each place, its holder and the command that frees it; ``--release`` frees only a dead run's."""
    with Project.make(tmp_path).toml.open("a") as file:
        file.write(f'[targets.lab]\nkind = "labgrid"\ncoordinator = "127.0.0.1:{lab.port}"\n')
        file.write('filter = { kind = "board" }\n')
    monkeypatch.chdir(tmp_path)
    pool = opened(lab, 1, "alive")
    board = pool.take("gw0")
    assert board is not None
    assert main(["targets", "--check"]) == int(ExitCode.PASSED)
    out = capsys.readouterr().out
    assert f"lab: place {board.name} is held by {holder_of_run('alive')} since 20" in out
    assert f"labgrid-client -x 127.0.0.1:{lab.port} -p {board.name} release --kick" in out
    assert out.count("is free") == 2
    assert main(["targets", "--release", board.name]) == int(ExitCode.LAB_ERROR)
    assert "nothing was released, since the holder may be alive: place" in capsys.readouterr().err
    assert lab.by() == {board.name: holder_of_run("alive")}
    monkeypatch.setattr(stale_places, "is_stale", lambda _by: True)  # as if the run's process had ended
    assert main(["targets", "--check"]) == int(ExitCode.PASSED)
    assert f"free it with: hil targets --release {board.name}" in capsys.readouterr().out
    assert main(["targets", "--release", board.name]) == int(ExitCode.PASSED)
    assert f"place {board.name} was released; {holder_of_run('alive')} held it since 20" in capsys.readouterr().out
    assert not lab.by()
    assert main(["targets", "--release", board.name]) == int(ExitCode.PASSED)
    assert "is free: nothing was done" in capsys.readouterr().out
    assert main(["targets", "--release", "b9"]) == int(ExitCode.USER_ERROR)
    assert "no place 'b9'" in capsys.readouterr().err
    pool.close()
