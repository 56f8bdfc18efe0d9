"""Find the runs that a reference names, such as ``latest``, ``jetpack:6.2``, a baseline's name or a run's id."""

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
"""The least number of characters of a run id or a commit in a reference."""
MOST = 10
"""The most runs that a reference to a JetPack release, commit or target returns: the newest ones."""
GROUPS = {"jetpack": RUNS.c.jetpack, "commit": RUNS.c.commit_id, "target": RUNS.c.target}
KINDS = "a run's id, latest, latest~1, jetpack:6.2, commit:SHA, target:NAME or a baseline's name"


@dataclass(frozen=True)
class Scope:
    """The runs that a reference may name: usable runs, of ``model`` and of ``target`` unless these are ``None``."""

    connection: sa.Connection
    baselines: Callable[[], Sequence[Baseline]]
    model: str | None = None
    target: str | None = None

    @property
    def where(self) -> list[sa.ColumnElement[bool]]:
        """The conditions that a run must meet: it is usable, and of ``target`` unless this is ``None``."""
        return [RUNS.c.usable, *([] if self.target is None else [RUNS.c.target == self.target])]

    def runs(self, *more: sa.ColumnElement[bool], limit: int = MOST, offset: int = 0) -> list[RunRecord]:
        """Return the usable runs that meet the conditions ``more``, newest first."""
        where = [*self.where, *more]
        return queries.runs(self.connection, where=where, limit=limit, offset=offset, model=self.model)

    def __str__(self) -> str:
        parts = [f"{word} {name}" for word, name in (("of", self.model), ("on", self.target)) if name]
        return " ".join(["", *parts])


def resolve(scope: Scope, ref: str) -> tuple[RunRecord, ...]:
    """Return the runs that ``ref`` names, newest first. Raises ``UserError`` if it names none or is ambiguous."""
    if match := LATEST.fullmatch(ref):
        return _latest(scope, ref, int(match[1] or 0))
    kind, colon, name = ref.partition(":")
    if colon and kind in GROUPS:
        return _group(scope, kind, name)
    named = {baseline.name: baseline for baseline in scope.baselines()}
    if ref in named:
        return _named(scope, named[ref])
    return _by_id(scope, ref, list(named))


def find(scope: Scope, ref: str) -> RunRecord:
    """Return the run, usable or not, whose id begins with ``ref``, else the newest one that ``resolve`` returns.

    Raises ``UserError`` as ``resolve`` does.
    """
    begins = RUNS.c.id.startswith(ref.lower(), autoescape=True)
    runs = queries.runs(scope.connection, where=[begins], limit=2) if len(ref) >= LEAST else []
    return runs[0] if len({run.id for run in runs}) == 1 else resolve(scope, ref)[0]


def _latest(scope: Scope, ref: str, back: int) -> tuple[RunRecord, ...]:
    runs = scope.runs(limit=1, offset=back)
    if not runs:
        count = len(scope.runs(limit=back + 1))
        found = "1 usable run" if count == 1 else f"{count or 'no'} usable runs"
        again = "once more" if count else "first"
        raise UserError(f"{ref}: the history has {found}{scope}: run pytest --target=NAME {again}")
    return tuple(runs)


def _group(scope: Scope, kind: str, name: str) -> tuple[RunRecord, ...]:
    column = GROUPS[kind]
    if kind == "commit":
        name = _commit(scope, name)
    runs = scope.runs(column == name)
    if not runs:
        query = sa.select(column).where(*scope.where, column.is_not(None)).distinct()
        known = sorted(scope.connection.execute(query.limit(1000)).scalars())
        choice = f"the history has {', '.join(known[:8])}" if known else f"the history has no {kind}"
        raise UserError(f"{kind}:{name}: it has no usable run{scope}: {choice}{did_you_mean(name, known)}")
    return tuple(runs)


def _commit(scope: Scope, name: str) -> str:
    """Return the commit in the history that begins with ``name``; ``name`` itself if there is no such commit.

    Raises ``UserError`` if ``name`` is too short or several commits begin with it.
    """
    if len(name) < LEAST:
        raise UserError(f"commit:{name}: too short: give at least {LEAST} characters of the hash")
    begins = RUNS.c.commit_id.startswith(name.lower(), autoescape=True)
    result = scope.connection.execute(sa.select(RUNS.c.commit_id).where(*scope.where, begins).distinct().limit(3))
    commits = list(result.scalars())
    if len(commits) > 1:
        raise UserError(f"commit:{name}: it is ambiguous ({', '.join(commits[:2])}): give more characters")
    return commits[0] if commits else name


def _named(scope: Scope, baseline: Baseline) -> tuple[RunRecord, ...]:
    runs = scope.runs(RUNS.c.id.in_(baseline.runs), limit=len(baseline.runs))
    if not runs:
        raise UserError(f"baseline {baseline.name!r}: none of its runs is usable{scope}: choose other runs for it")
    return tuple(runs)


def _by_id(scope: Scope, ref: str, names: list[str]) -> tuple[RunRecord, ...]:
    # Unusable runs are searched as well: the message why a run is unusable helps more than "no such run".
    begins = RUNS.c.id.startswith(ref.lower(), autoescape=True)
    candidates = queries.runs(scope.connection, where=[begins], limit=5) if len(ref) >= LEAST else []
    exact = [run for run in candidates if run.id == ref] or candidates
    ids = list(dict.fromkeys(run.id for run in exact))
    if len(ids) > 1:
        raise UserError(f"{ref}: it is ambiguous ({', '.join(ids)}): give more characters")
    if not ids:
        near = [run.id for run in queries.runs(scope.connection, limit=200)]
        hint = did_you_mean(ref, [*names, *near])
        raise UserError(f"{ref}: there is no such run: give {KINDS}{hint}: hil history lists the runs")
    usable = [run for run in exact if run.usable]
    if not usable:
        raise UserError(f"{ref}: {_unusable_reason(exact[0])}, so it cannot be compared: choose another run")
    if scope.target is not None and usable[0].target != scope.target:
        raise UserError(f"{ref}: this run is of target {usable[0].target}, not {scope.target}: choose another run")
    return tuple(usable[:1])


def _unusable_reason(run: RunRecord) -> str:
    if run.fallback:
        return f"this run requested {run.target} and fell back to {run.used}"
    return "this run did not finish"
