"""What a reference means: ``latest``, ``jetpack:6.2``, ``commit:abc``, ``target:NAME``, a baseline's name, a run id."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from hil.errors import UserError, did_you_mean
from hil.history import queries
from hil.history.tables import RUNS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hil.history.entries import Baseline, RunRecord

LATEST = re.compile(r"latest(?:~(\d{1,6}))?")
LEAST = 4
"""Characters of a run id or a commit that are enough to name it."""
MOST = 10
"""Runs of one JetPack, commit or target: the newest ones."""
GROUPS = {"jetpack": RUNS.c.jetpack, "commit": RUNS.c.commit_id, "target": RUNS.c.target}
KINDS = "a run's id, latest, latest~1, jetpack:6.2, commit:SHA, target:NAME or a baseline's name"


@dataclass(frozen=True)
class Scope:
    """Where a reference is looked up: among usable runs, of one model and target if those are given."""

    connection: sa.Connection
    baselines: Callable[[], Sequence[Baseline]]
    model: str | None = None
    target: str | None = None

    @property
    def where(self) -> list[sa.ColumnElement[bool]]:
        """What every run that is handed out must be: neither a fallback nor broken off."""
        return [RUNS.c.usable, *([] if self.target is None else [RUNS.c.target == self.target])]

    def runs(self, *more: sa.ColumnElement[bool], limit: int = MOST, offset: int = 0) -> list[RunRecord]:
        """Usable runs that fit, newest first."""
        where = [*self.where, *more]
        return queries.runs(self.connection, where=where, limit=limit, offset=offset, model=self.model)

    def __str__(self) -> str:
        parts = [f"{word} {name}" for word, name in (("of", self.model), ("on", self.target)) if name]
        return " ".join(["", *parts])


def resolve(scope: Scope, ref: str) -> tuple[RunRecord, ...]:
    """The runs that ``ref`` names, newest first. Raises ``UserError`` for none and for several."""
    if match := LATEST.fullmatch(ref):
        return _latest(scope, int(match[1] or 0))
    kind, colon, name = ref.partition(":")
    if colon and kind in GROUPS:
        return _group(scope, kind, name)
    named = {baseline.name: baseline for baseline in scope.baselines()}
    if ref in named:
        return _named(scope, named[ref])
    return _by_id(scope, ref, list(named))


def find(scope: Scope, ref: str) -> RunRecord:
    """The one run to show for ``ref``: any run by its id, else the newest that ``resolve`` finds."""
    begins = RUNS.c.id.startswith(ref.lower(), autoescape=True)
    found = queries.runs(scope.connection, where=[begins], limit=2) if len(ref) >= LEAST else []
    return found[0] if len({run.id for run in found}) == 1 else resolve(scope, ref)[0]


def _latest(scope: Scope, back: int) -> tuple[RunRecord, ...]:
    found = scope.runs(limit=1, offset=back)
    if not found:
        count = len(scope.runs(limit=back + 1))
        raise UserError(f"latest~{back}: the history has {count} usable runs{scope}: run pytest --target=NAME first")
    return tuple(found)


def _group(scope: Scope, kind: str, name: str) -> tuple[RunRecord, ...]:
    column = GROUPS[kind]
    if kind == "commit":
        name = _commit(scope, name)
    found = scope.runs(column == name)
    if not found:
        query = sa.select(column).where(*scope.where, column.is_not(None)).distinct()
        known = sorted(scope.connection.execute(query.limit(1000)).scalars())
        there = f"there are {', '.join(known[:8])}" if known else "none is known"
        raise UserError(f"{kind}:{name}: no usable run of it{scope}: {there}{did_you_mean(name, known)}")
    return tuple(found)


def _commit(scope: Scope, name: str) -> str:
    """The one commit that ``name`` begins."""
    if len(name) < LEAST:
        raise UserError(f"commit:{name}: too short: give at least {LEAST} characters of it")
    begins = RUNS.c.commit_id.startswith(name.lower(), autoescape=True)
    found = scope.connection.execute(sa.select(RUNS.c.commit_id).where(*scope.where, begins).distinct().limit(3))
    commits = list(found.scalars())
    if len(commits) > 1:
        raise UserError(f"commit:{name}: begins several ({', '.join(commits[:2])}): give more of it")
    return commits[0] if commits else name


def _named(scope: Scope, baseline: Baseline) -> tuple[RunRecord, ...]:
    found = scope.runs(RUNS.c.id.in_(baseline.runs), limit=len(baseline.runs))
    if not found:
        raise UserError(f"baseline {baseline.name!r}: none of its runs is usable{scope}: name other runs for it")
    return tuple(found)


def _by_id(scope: Scope, ref: str, names: list[str]) -> tuple[RunRecord, ...]:
    # Whatever it is: that a fallback is refused as one is more help than that it was not found.
    begins = RUNS.c.id.startswith(ref.lower(), autoescape=True)
    found = queries.runs(scope.connection, where=[begins], limit=5) if len(ref) >= LEAST else []
    exact = [run for run in found if run.id == ref] or found
    ids = list(dict.fromkeys(run.id for run in exact))
    if len(ids) > 1:
        raise UserError(f"{ref}: begins several runs ({', '.join(ids)}): give more of it")
    if not ids:
        near = [run.id for run in queries.runs(scope.connection, limit=200)]
        hint = did_you_mean(ref, [*names, *near])
        raise UserError(f"{ref}: names no run: give {KINDS}{hint}: hil history lists them")
    usable = [run for run in exact if run.usable]
    if not usable:
        raise UserError(f"{ref}: {_unusable(exact[0])}: nothing is compared with it: choose another run")
    if scope.target is not None and usable[0].target != scope.target:
        raise UserError(f"{ref}: that run is of target {usable[0].target}, not {scope.target}: choose another run")
    return tuple(usable[:1])


def _unusable(run: RunRecord) -> str:
    if run.fallback:
        return f"that run asked for {run.target} and fell back to {run.used}"
    return "that run was broken off before its end"
