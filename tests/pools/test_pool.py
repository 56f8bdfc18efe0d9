"""A run's boards: never two users of one board, never more than asked for, and all released."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.config.spec import TargetSpec
from hil.errors import HilError, LabError, TargetHeld, TargetUnreachable, UserError
from hil.pools.lease import DIED, Lease, Leases
from hil.pools.members import Members
from hil.pools.pool import Pool, Source
from hil.pools.pool_board import PoolBoard, token_of
from hil.targets.target import open_target

if TYPE_CHECKING:
    from pathlib import Path


def board(name: str) -> PoolBoard:
    """Return a board of the run."""
    return PoolBoard(name, token_of("run", name))


class Shelf(Source):
    """A source whose boards are available at once."""

    def __init__(self, names: list[str]) -> None:
        self.free = list(names)
        self.out: list[str] = []

    def obtain(self, pool: Pool) -> HilError | None:
        while pool.missing and self.free:
            self.out.append(self.free.pop(0))
            assert pool.add(board(self.out[-1]))
        return TargetHeld("all others are held") if pool.missing else None

    def release(self, board: PoolBoard) -> None:
        self.out.remove(board.name)

    def close(self) -> None:
        self.out.clear()


def settled(pool: Pool) -> None:
    """Wait until nothing is being obtained."""
    until = time.monotonic() + 10
    while pool._working and time.monotonic() < until:  # noqa: SLF001 - a test may look
        time.sleep(0.001)


STEPS = st.lists(st.tuples(st.sampled_from(["take", "give", "lose"]), st.integers(0, 4)), max_size=25)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 5), st.integers(1, 5), STEPS)
def test_no_board_has_two_users_and_none_returns_after_its_loss(
    boards: int, wanted: int, steps: list[tuple[str, int]]
) -> None:
    """After any steps, no board has two users, and no lost board returns."""
    source = Shelf([f"b{number}" for number in range(boards)])
    pool, users, lost = Pool("all", source, wanted), {}, set()
    pool.start()
    for step, number in steps:
        settled(pool)
        user = f"gw{number}"
        if step == "take" and (got := pool.take(user)) is not None:
            users[user] = got.name
        elif step == "give":
            pool.give_back(user)
            users.pop(user, None)
        elif step == "lose" and (gone := pool.lose(user, "unplugged")) is not None:
            assert gone.name == users.pop(user)
            lost.add(gone.name)
        assert len(set(users.values())) == len(users) <= wanted
        assert not lost & set(users.values())
        assert len(source.out) - len(lost & set(source.out)) <= wanted
    settled(pool)
    assert pool.exhausted == (len(lost) == boards)
    if pool.exhausted:
        assert isinstance(pool.error(), LabError)
    pool.close()
    assert not source.out
    assert pool.take("late") is None
    assert not pool.add(board("late"))


def test_waiting_ends_when_no_board_will_come() -> None:
    """If no board will come, waiting ends with the source's reason."""
    pool = Pool("all", Shelf([]), 2)
    pool.start()
    pool.wait()
    assert pool.exhausted
    assert isinstance(pool.error(), TargetHeld)


def test_an_unforeseen_error_of_a_source_reaches_the_run() -> None:
    """An unexpected error of a source ends the wait as a lab error, without a fallback."""

    class Broken(Shelf):
        def obtain(self, pool: Pool) -> HilError | None:
            raise RuntimeError(f"broken {pool.name}")

    pool = Pool("all", Broken([]), 1)
    pool.start()
    pool.wait()
    assert type(pool.error()) is LabError
    assert "broken all" in str(pool.error())


@pytest.mark.parametrize("user", ["gw0", None], ids=["used", "free"])
def test_a_loss_that_the_source_reports_reaches_the_user(user: str | None) -> None:
    """A lost board in use is reported to its user; a lost free board is never given away."""
    pool, told = Pool("all", Shelf(["b0"]), 1), []
    pool.on_loss = lambda name, reason: told.append((name, reason))
    pool.start()
    pool.wait()
    if user is not None:
        assert pool.take(user) is not None
    pool.report_loss("b0", "kicked by ann")
    assert told == ([("gw0", "kicked by ann")] if user else [])
    assert user is not None or pool.take("gw1") is None


def test_members_are_held_for_the_run_and_no_machine_twice(tmp_path: Path) -> None:
    """A run holds each free member until it ends, none that another run holds, and no store twice."""
    specs = {name: TargetSpec(store=str(tmp_path / name)) for name in ("theirs", "one", "two")}
    specs["again"] = specs["one"]
    with open_target("theirs", specs["theirs"]).start_agent() as other:
        other.hold("another run", "ann (pid 7)")
        source = Members("all", specs, "run", 0.0, lambda _line: None)
        pool = Pool("all", source, 4)
        pool.start()
        pool.wait()
        settled(pool)
        names = {got.name for got in (pool.take(f"gw{number}") for number in range(4)) if got is not None}
        assert len(names) == 2
        assert "two" in names
        assert len(names & {"one", "again"}) == 1
        assert isinstance(source.troubles["theirs"], TargetHeld)
        assert "ann (pid 7)" in str(source.troubles["theirs"])
        with open_target("two", specs["two"]).start_agent() as agent:
            agent.hold(token_of("run", "two"), "a worker of the run")  # its own agents share the hold
        pool.close()
        with open_target("two", specs["two"]).start_agent() as agent:
            agent.hold("a later run", "bob")


def test_who_waits_is_told_for_whom_and_gets_the_member_when_it_is_free(tmp_path: Path) -> None:
    """While a member is held, its holder is named; once it is released, it is held by this run."""
    spec, lines = TargetSpec(store=str(tmp_path)), list[str]()
    holder = open_target("one", spec).start_agent()
    holder.hold("another run", "ann (pid 7)")

    def say(line: str) -> None:
        lines.append(line)
        threading.Thread(target=holder.close).start()

    pool = Pool("all", Members("all", {"one": spec}, "run", 60.0, say), 1)
    pool.start()
    pool.wait()
    got = pool.take("gw0")
    pool.close()
    assert got is not None
    assert len(lines) == 1
    assert "ann (pid 7)" in lines[0]


@pytest.mark.parametrize(
    ("troubles", "kind"),
    [
        ({"a": TargetUnreachable("x"), "b": TargetUnreachable("x")}, TargetUnreachable),
        ({"a": TargetUnreachable("x"), "b": TargetHeld("x")}, TargetHeld),
        ({"a": TargetUnreachable("x"), "b": LabError("x")}, LabError),
        ({"a": TargetHeld("x"), "b": UserError("x")}, UserError),
        ({}, LabError),
    ],
)
def test_only_unreachable_members_allow_a_fallback(troubles: dict[str, HilError], kind: type[HilError]) -> None:
    """The CPU replaces a pool only if none of its members can be reached."""
    source = Members("all", {}, "run", 0.0, lambda _line: None)
    source.troubles.update(troubles)
    assert type(source._error()) is kind  # noqa: SLF001 - a test may look


def test_a_board_survives_its_journey_as_json() -> None:
    """A board is the same after being sent as JSON."""
    here = PoolBoard("b", "t", {"kind": "ssh", "host": "h", "port": 22})
    assert PoolBoard.from_json(here.as_json()) == here


@pytest.mark.parametrize("reason", ["kicked by ann", ""], ids=["told", "controller died"])
def test_a_process_learns_that_its_board_is_lost(reason: str) -> None:
    """A loss, and the death of the controller, reach the process, even if it begins to watch later."""
    leases = Leases()
    leases.open("gw0")
    leases.give("gw0", board("b"))
    early, late, told = Lease(leases.folder, "gw0"), threading.Event(), list[str]()
    assert early.board() == (board("b"), "")

    def lost(why: str) -> None:
        told.append(why)
        late.set()

    if reason:
        leases.end("gw0", reason)
        early.watch(lost)
    else:
        early.watch(lost)
        leases.close()
    assert late.wait(10)
    assert told == [reason or DIED]
    leases.close()
    leases.close()
