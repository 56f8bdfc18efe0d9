"""``hil.checks.json`` beside ``hil.toml``: the project's own checks, so that none of them can vanish unnoticed.

Written by ``hil checks --write REPORT``, committed, and part of the plan of every run.
"""

from __future__ import annotations

import json
import re
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hil.catalogue import KINDS
from hil.config.merge import on_target
from hil.errors import UserError, did_you_mean
from hil.files import strictjson

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from hil.config.spec import ConfigSpec
    from hil.results import RowKey

SCHEMA = 1
MOST_BYTES = 8 << 20
LISTED = 10
"""Mistakes listed at most."""
ID = r"(?=.{3,200}$)[a-z][a-z0-9_]*(\.[a-z0-9_]+)+"
"""What a check of the project's own may be called."""
STOCK_FAMILIES = frozenset(kind.id.split(".")[0] for kind in KINDS)
REWRITE = "hil checks --write REPORT"
Text = Annotated[str, Field(max_length=2000, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]


def is_own(check_id: str) -> bool:
    """Whether a check of this id is not one of the stock suites'."""
    return check_id.split(".", maxsplit=1)[0] not in STOCK_FAMILIES


class OwnCheck(BaseModel):
    """One row of the project's own; ``test`` is the node id of the test that gave it, relative to pytest's rootdir."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: Annotated[str, Field(max_length=200)]
    model: Text = ""
    precision: Text = ""
    scenario: Text = ""
    test: Text = ""

    @property
    def key(self) -> RowKey:
        """What identifies the row."""
        return (self.id, self.model, self.precision, self.scenario)

    @property
    def name(self) -> str:
        """The row in one line."""
        return " ".join(part for part in self.key if part)


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schema_version: Literal[1] = Field(alias="schema")
    checks: list[OwnCheck]


def place(config: Path) -> Path:
    """The file that belongs to this config: ``hil.checks.json`` of ``hil.toml``."""
    return config.with_name(f"{config.stem}.checks.json")


def read(path: Path, spec: ConfigSpec) -> tuple[tuple[OwnCheck, ...], str | None]:
    """The checks in ``path`` and its SHA-256; none and ``None`` where there is no such file.

    Raises ``UserError`` for a file that is damaged, and for ids, models and precisions that ``spec`` does not have.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return (), None
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}): see to it, or write it anew: {REWRITE}") from None
    if len(content) > MOST_BYTES:
        raise UserError(f"{path.name} is over {MOST_BYTES >> 20} MiB: write it anew after a run: {REWRITE}")
    found = _parsed(content, path.name)
    fitting(found, spec, path.name)
    return found, sha256(content).hexdigest()


def fitting(checks: Iterable[OwnCheck], spec: ConfigSpec, name: str) -> None:
    """Raises ``UserError`` with every check in the file ``name`` that ``spec`` cannot have."""
    wrong = list(_mistakes(checks, spec))
    if wrong:
        more = [f"… and {len(wrong) - LISTED} more"] if len(wrong) > LISTED else []
        listed = [f"  - {line}" for line in [*wrong[:LISTED], *more]]
        raise UserError(f"{name} does not fit the config: write the own checks anew after a run: {REWRITE}:", *listed)


def _parsed(content: bytes, name: str) -> tuple[OwnCheck, ...]:
    try:
        return tuple(_File.model_validate(strictjson.loads(content)).checks)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        why = f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}"
    except (ValueError, RecursionError) as error:  # also what is no UTF-8 and no JSON
        why = " ".join(str(error).split()) or "it is nested too deeply"
    raise UserError(f"{name} is damaged ({why[:200]}): restore it, or write it anew after a run: {REWRITE}")


def _mistakes(checks: Iterable[OwnCheck], spec: ConfigSpec) -> Iterator[str]:
    """Every entry that no run with this config could have a row for, and every one that is listed twice."""
    seen: set[RowKey] = set()
    for check in checks:
        if re.fullmatch(ID, check.id) is None or not is_own(check.id):
            yield f"{check.name!r}: the id is not one of a check of your own"
        elif check.model and check.model not in spec.models:
            yield f"{check.name!r}: there is no model {check.model!r}{did_you_mean(check.model, spec.models)}"
        elif check.precision and check.precision not in _precisions(spec, check.model):
            yield f"{check.name!r}: model {check.model!r} has no precision {check.precision!r} on any target"
        elif check.key in seen:
            yield f"{check.name!r} is listed twice"
        seen.add(check.key)


def _precisions(spec: ConfigSpec, model: str) -> set[str]:
    """What the model is run in on any target."""
    if not model:
        return set()
    found = spec.models[model]
    return set(found.precisions).union(*(on_target(found, target).precisions for target in found.on))


def is_of(check: OwnCheck, spec: ConfigSpec, target: str) -> bool:
    """Whether ``target`` has this row: its model is run there in its precision."""
    return not check.precision or check.precision in on_target(spec.models[check.model], target).precisions


def to_json(checks: Iterable[OwnCheck]) -> str:
    """The file's text: a line a check, sorted, the same for the same checks."""
    rows: list[dict[str, Any]] = [check.model_dump(exclude_defaults=True) for check in sorted(checks, key=_order)]
    lines = ",\n".join(f"    {json.dumps(row, ensure_ascii=False)}" for row in rows)
    return f'{{\n  "schema": {SCHEMA},\n  "checks": [\n{lines}\n  ]\n}}\n'


def _order(check: OwnCheck) -> RowKey:
    return check.key
