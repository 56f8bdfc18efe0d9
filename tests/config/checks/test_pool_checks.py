"""Pools: mistakes that are refused before any board is contacted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hil.config.load import Config, load
from hil.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

BOARD = '{{ kind = "ssh", host = "{0}.lab", board = "orin-nano-8gb" }}'
SAME = '[targets.x]\nkind = "ssh"\nhost = "ONE.lab"\nboard = "orin-nano-8gb"\n'
LAB = 'kind = "labgrid"\ncoordinator = "lab:20408"\nfilter = { board = "orin" }\n'


def loaded(folder: Path, tables: str) -> Config:
    """Load a config with these tables, a pool ``all`` among them, and one model."""
    (folder / "m.onnx").touch()
    path = folder / "hil.toml"
    path.write_text(f"{tables}\n[models.m]\npath = 'm.onnx'\ndata = 'synthetic'\n")
    return load(path)


def pool(members: str, more: str = "") -> str:
    """Return a table of a pool, and two boards."""
    boards = f"[targets]\none = {BOARD.format('one')}\ntwo = {BOARD.format('two')}\n"
    return f'{boards}[targets.all]\nkind = "pool"\nmembers = {members}\n{more}'


def test_a_pool_is_what_its_members_have_in_common(tmp_path: Path) -> None:
    """The spec of a pool has the keys that its members have in common, and no member's address."""
    config = loaded(tmp_path, pool('["one", "two"]', "wait = '5 min'\n"))
    spec = config.target("all")
    assert (spec.kind, spec.board, spec.host, spec.wait) == ("pool", "orin-nano-8gb", None, 300.0)
    assert [config.target(name).host for name in spec.members] == ["one.lab", "two.lab"]


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        (pool("[]"), "names no target"),
        ('[targets.all]\nkind = "pool"\n', "names no target"),
        (pool('["one", "three"]'), r"has no \[targets.three\]"),
        (pool('["one", "cpu"]'), r"has no \[targets.cpu\]"),
        (pool('["one", "one"]'), "'one' is listed twice"),
        (pool('["one", "all"]'), "'all' is of kind 'pool'"),
        (pool('["one", "lab"]', f"[targets.lab]\n{LAB}"), "'lab' is of kind 'labgrid'"),
        (pool('["one"]', 'power_mode = "MAXN"\n'), "all.power_mode: has no effect on a pool"),
        (pool('["one"]', 'coordinator = "lab"\n'), "all.coordinator: has no effect on a pool"),
        (pool('["one", "x"]', '[targets.x]\nkind = "ssh"\nhost = "x"\nboard = "agx-orin-64gb"\n'), "differ in board"),
        (
            pool('["one", "x"]', '[targets.x]\nkind = "ssh"\nhost = "ONE.lab"\nboard = "orin-nano-8gb"\n'),
            "same machine",
        ),
        ('[targets.x]\nmembers = ["cpu"]\n', "x.members: has an effect only with kind 'pool'"),
        ('[targets.x]\nwait = "1 min"\n', "x.wait: has an effect only with kind 'pool' or 'labgrid'"),
        ("[targets.x]\nat_most = 2\n", "x.at_most: has an effect only with kind 'labgrid'"),
        ('[targets.x]\nkind = "labgrid"\nfilter = { a1 = "b" }\n', "labgrid needs the key 'coordinator'"),
        ('[targets.x]\nkind = "labgrid"\ncoordinator = "lab"\n', "filter: names no tag"),
        (f'[targets.x]\n{LAB}host = "board"\n', "x.host: has no effect on kind 'labgrid'"),
        (f"[targets.x]\n{LAB.replace('board', 'Board')}", "filter.Board: is not a tag"),
        (f"[targets.x]\n{LAB.replace('orin', '')}", "filter.board: is empty"),
    ],
)
def test_a_pool_that_would_not_be_what_it_seems_is_refused(tmp_path: Path, tables: str, words: str) -> None:
    """Empty, unknown, repeated, nested and unlike members are refused, and keys without effect."""
    with pytest.raises(UserError, match=words):
        loaded(tmp_path, tables)
