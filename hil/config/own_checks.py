"""Read and write ``hil.checks.json`` next to ``hil.toml``: the list of the project's own checks.

Every run must have a result for each check in the list.
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
"""The maximum number of mistakes in one message."""
ID = r"(?=.{3,200}$)[a-z][a-z0-9_]*(\.[a-z0-9_]+)+"
"""The pattern of an own check's id."""
STOCK_FAMILIES = frozenset(kind.id.split(".")[0] for kind in KINDS)
REWRITE = "hil checks --write REPORT"
Text = Annotated[str, Field(max_length=2000, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]


def is_own(check_id: str) -> bool:
    """Return true for the id of a project's own check, false if its family belongs to the stock suites."""
    return check_id.split(".", maxsplit=1)[0] not in STOCK_FAMILIES


class OwnCheck(BaseModel):
    """One of the project's own checks.

    ``test`` is the node id, relative to pytest's rootdir, of the test that gives the result.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: Annotated[str, Field(max_length=200)]
    model: Text = ""
    precision: Text = ""
    scenario: Text = ""
    test: Text = ""

    @property
    def key(self) -> RowKey:
        """The key of the check's row: id, model, precision and scenario."""
        return (self.id, self.model, self.precision, self.scenario)

    @property
    def name(self) -> str:
        """The non-empty parts of the key, separated by spaces."""
        return " ".join(part for part in self.key if part)


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schema_version: Literal[1] = Field(alias="schema")
    checks: list[OwnCheck]


def place(config: Path) -> Path:
    """Return the path of the file of own checks for ``config``: ``hil.checks.json`` for ``hil.toml``."""
    return config.with_name(f"{config.stem}.checks.json")


def read(path: Path, spec: ConfigSpec) -> tuple[tuple[OwnCheck, ...], str | None]:
    """Return the checks in the file ``path`` and the file's SHA-256, or ``()`` and ``None`` if there is no such file.

    Raise ``UserError`` for a damaged file, invalid ids, duplicates, and models and precisions that ``spec`` does not
    have.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return (), None
    except OSError as error:
        raise UserError(
            f"cannot read {path} ({error.strerror}): check the file, or write a new one: {REWRITE}"
        ) from None
    if len(content) > MOST_BYTES:
        raise UserError(f"{path.name} is over {MOST_BYTES >> 20} MiB: write a new one after a run: {REWRITE}")
    checks = _parsed(content, path.name)
    require_valid(checks, spec, path.name)
    return checks, sha256(content).hexdigest()


def require_valid(checks: Iterable[OwnCheck], spec: ConfigSpec, name: str) -> None:
    """Raise a ``UserError`` with the mistakes in ``checks``, which the file ``name`` lists; return if there are none.

    A check that no run with ``spec`` can contain is a mistake, and so is a duplicate.
    """
    wrong = list(_mistakes(checks, spec))
    if wrong:
        more = [f"… and {len(wrong) - LISTED} more"] if len(wrong) > LISTED else []
        listed = [f"  - {line}" for line in [*wrong[:LISTED], *more]]
        raise UserError(
            f"{name} does not fit the config: update the list of own checks after a run: {REWRITE}:", *listed
        )


def _parsed(content: bytes, name: str) -> tuple[OwnCheck, ...]:
    try:
        return tuple(_File.model_validate(strictjson.loads(content)).checks)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        why = f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}"
    except (ValueError, RecursionError) as error:  # not UTF-8, or not JSON
        why = " ".join(str(error).split()) or "it is nested too deeply"
    raise UserError(f"{name} is damaged ({why[:200]}): restore it, or write a new one after a run: {REWRITE}")


def _mistakes(checks: Iterable[OwnCheck], spec: ConfigSpec) -> Iterator[str]:
    """Yield a message for every check that no run with ``spec`` can contain, and for every duplicate."""
    keys: set[RowKey] = set()
    for check in checks:
        if re.fullmatch(ID, check.id) is None or not is_own(check.id):
            yield f"{check.name!r}: the id is not valid for a check of your own"
        elif check.model and check.model not in spec.models:
            yield f"{check.name!r}: there is no model {check.model!r}{did_you_mean(check.model, spec.models)}"
        elif check.precision and check.precision not in _precisions(spec, check.model):
            yield f"{check.name!r}: model {check.model!r} has no precision {check.precision!r} on any target"
        elif check.key in keys:
            yield f"{check.name!r} is listed twice"
        keys.add(check.key)


def _precisions(spec: ConfigSpec, model: str) -> set[str]:
    """Return all precisions that the model has on one target or another; empty if ``model`` is empty."""
    if not model:
        return set()
    base = spec.models[model]
    return set(base.precisions).union(*(on_target(base, target).precisions for target in base.on))


def is_of(check: OwnCheck, spec: ConfigSpec, target: str) -> bool:
    """Return whether the plan of ``target`` contains this check."""
    return not check.precision or check.precision in on_target(spec.models[check.model], target).precisions


def to_json(checks: Iterable[OwnCheck]) -> str:
    """Return the text of the file of own checks, with one line for each check, sorted by key."""
    rows: list[dict[str, Any]] = [check.model_dump(exclude_defaults=True) for check in sorted(checks, key=_order)]
    lines = ",\n".join(f"    {json.dumps(row, ensure_ascii=False)}" for row in rows)
    return f'{{\n  "schema": {SCHEMA},\n  "checks": [\n{lines}\n  ]\n}}\n'


def _order(check: OwnCheck) -> RowKey:
    return check.key
