"""Make the plan of a run: every check that must be judged, derived from the config and the models that it names.

The plan is made before the target is contacted and before pytest selects tests, so ``-k`` or a deleted test file cannot
change it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hil.catalogue import CATALOGUE, KINDS, CheckKind, LimitKey
from hil.config.own_checks import is_of
from hil.config.policy import WORDS, literal_id, matches
from hil.errors import UserError, did_you_mean
from hil.onnx_files.signature import read_signature
from hil.results import Limit, Row, RowKey
from hil.runtimes import runtime_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hil.config.load import Config
    from hil.config.spec import GateSpec, LimitsSpec, ModelSpec


@dataclass(frozen=True)
class Plan:
    """All rows of a run against one target, in the order of the report."""

    target: str
    rows: tuple[Row, ...]
    unlimited: tuple[Row, ...] = ()  # measured for information: they have no limit, so they are not judged
    own: tuple[Row, ...] = ()  # the project's own checks, listed in hil.checks.json; no suite contains them
    own_tests: frozenset[str] = frozenset()  # node ids of the tests of all checks listed there, for any target

    def by_key(self) -> dict[RowKey, Row]:
        """Return the judged rows, including the project's own checks, by (id, model, precision, scenario)."""
        return {row.key: row for row in (*self.rows, *self.own)}

    def unlimited_keys(self) -> frozenset[RowKey]:
        """Return the keys of the rows that are measured but, for lack of a limit, not judged."""
        return frozenset(row.key for row in self.unlimited)

    def of(self, check_id: str) -> tuple[Row, ...]:
        """Return the rows of the stock check ``check_id``, both judged and only measured; empty if there are none."""
        return tuple(row for row in (*self.rows, *self.unlimited) if row.id == check_id)


def applies(  # noqa: PLR0913 - each is a fact about the model
    kind: CheckKind, precision: str, *, literal: bool, task: bool, node: bool, recurrent: bool, brought: bool
) -> bool:
    """Return whether ``kind`` applies to a model in ``precision``, regardless of its limits.

    ``task``, ``node``, ``recurrent`` and ``brought`` are whether the model has a task, an ``isaac_ros`` file, a state,
    and an ONNX file that somebody else quantized. With ``literal`` (``asked_by_id``), the check applies even without
    the task or file that it needs.
    """
    if kind.precisions is not None and precision not in kind.precisions:
        return False
    if kind.recurrent is not None and kind.recurrent != recurrent:
        return False
    needed = ((kind.needs_task, task), (kind.needs_node, node), (kind.brought, brought))
    return literal or all(has for needs, has in needed if needs)


def asked_by_id(require: Iterable[str], kind: CheckKind, model: str, precision: str) -> bool:
    """Return whether a pattern in ``require`` names ``kind``'s id without wildcards and matches model and precision."""
    return any(literal_id(pattern) == kind.id and matches(pattern, kind.id, model, precision) for pattern in require)


def compared_by_name(require: Iterable[str], kind: CheckKind, model: str, precision: str) -> bool:
    """Return whether ``kind`` is a regression check that a pattern names by its family, ``regression``."""
    family = kind.id.split(".", maxsplit=1)[0]
    named = (pattern for pattern in require if pattern.startswith(family))
    return bool(kind.regresses) and any(matches(pattern, kind.id, model, precision) for pattern in named)


def must_exist(
    require: Iterable[str], models: Mapping[tuple[str, str], frozenset[str]]
) -> Iterator[tuple[str, str, str]]:
    """Yield id, model and precision of the rows that every plan has because ``require`` names their checks.

    ``models`` maps model and precision to the ids of the planned rows.
    """
    patterns = tuple(require)
    kinds = [kind for kind in KINDS if kind.regresses or any(literal_id(pattern) == kind.id for pattern in patterns)]
    for (model, precision), ids in models.items():
        has = {"task": "parity.task" in ids, "node": "contract.isaac_ros" in ids}
        has |= {"recurrent": "sequence.free_running" in ids, "brought": "placement.declared" in ids}
        for kind in kinds:
            literal = asked_by_id(patterns, kind, model, precision)
            named = literal or compared_by_name(patterns, kind, model, precision)
            if named and applies(kind, precision, literal=literal, **has):
                yield kind.id, model, precision


def expand(config: Config, target: str, *, baseline: bool = False) -> Plan:
    """Return the plan of the checks that apply to each model and precision on ``target``.

    A check is judged if it has a fixed criterion or a limit, or if the policy names its exact id; others are only
    measured. Regression checks are planned if ``baseline`` is true, or if the policy names them. The project's own
    checks for this target are all required.

    Raise ``UserError`` if the policy has no patterns, or if a pattern is invalid or matches no judged check.
    """
    policy = config.spec.gate
    judged: list[Row] = []
    unlimited: list[Row] = []
    for name in config.spec.models:
        model = config.model(name, target)
        for precision in model.precisions:
            for row, has_criterion in _rows_of(config, target, name, model, precision):
                named = compared_by_name(policy.require, CATALOGUE[row.id], row.model, row.precision)
                if CATALOGUE[row.id].regresses and not baseline and not named:
                    continue
                (judged if has_criterion else unlimited).append(row)
    own = _own_rows(config, target)
    _check_policy(config, policy, [*judged, *own])
    tests = frozenset(check.test for check in config.own_checks)
    return Plan(target, tuple(judged), tuple(unlimited), own, tests)


def _own_rows(config: Config, target: str) -> tuple[Row, ...]:
    listed = (check for check in config.own_checks if is_of(check, config.spec, target))
    return tuple(Row(**check.model_dump(), required=True) for check in listed)


def _rows_of(config: Config, target: str, name: str, model: ModelSpec, precision: str) -> Iterator[tuple[Row, bool]]:
    policy = config.spec.gate
    shows_layers = runtime_record(config.target(target).runtime).reports_layers
    for kind in KINDS:
        literal = asked_by_id(policy.require, kind, name, precision)
        has = {"task": model.task is not None, "node": model.isaac_ros is not None, "recurrent": model.recurrent}
        has["brought"] = model.engine is None and model.deployed_in(precision) is not None
        if not applies(kind, precision, literal=literal, **has):
            continue
        defaults = shows_layers or not kind.needs_layers
        limit = (
            None if kind.limit is None else _limit(config, name, precision, model.limits, kind.limit, defaults=defaults)
        )
        has_criterion = kind.limit is None or limit is not None or literal
        if kind.only_limited and not has_criterion:
            continue
        if kind.id == "property.parity" and not literal and _only_saved(config, model):
            continue
        required = has_criterion and any(matches(pattern, kind.id, name, precision) for pattern in policy.require)
        row = Row(
            id=kind.id,
            model=name,
            precision=precision,
            scenario=kind.scenario,
            required=required,
            limit=limit,
            test=f"{kind.test}[{name}-{precision}]",
        )
        yield row, has_criterion


def _only_saved(config: Config, model: ModelSpec) -> bool:
    """Return whether saved outputs are the model's only reference, because the host cannot run the model."""
    try:
        return model.reference is not None and bool(read_signature(config.resolve(model.path)).foreign)
    except UserError:  # reported where the model is used
        return False


def _limit(  # noqa: PLR0913 - a key of the config, and for which row
    config: Config, name: str, precision: str, limits: LimitsSpec, key: LimitKey, *, defaults: bool
) -> Limit | None:
    """Return the limit ``key`` of the model ``name`` in ``precision``; ``None`` if it has no such limit.

    ``limits`` are the model's limits on the target. With ``defaults``, the default of ``key`` for this precision
    replaces a limit that is not written.
    """
    own, factor = limits.own(precision), key.fail_factor
    table, keys = limits, ["models", name, "limits"]
    value = _value(own, key.path)
    if value is not None:
        keys.append(precision)
    else:
        value = _value(limits, key.path)
    reason, expires = table.why, table.expires
    if own is not None and keys[-1] == precision:
        reason, expires = own.why or reason, own.expires or expires
    source = config.where(*keys, *key.path)
    if value is None:
        applies_here = key.default_for is None or precision in key.default_for
        if key.default is None or not defaults or not applies_here:
            return None
        value, source, reason, expires = key.default, "default", key.default_reason, None
        factor = key.fail_factor if key.default_for is None else key.default_for[precision]
    fail_at = None if factor is None else factor * value
    return Limit(
        value=value,
        unit=key.unit,
        sense=key.sense,
        source=source,
        fail_at=fail_at,
        reason=reason,
        expires=expires,
    )


def _value(table: object, path: Iterable[str]) -> float | None:
    """Return the value at ``path`` below ``table``; ``None`` if there is no such value."""
    for part in path:
        table = getattr(table, part, None)
    assert table is None or isinstance(table, float | int)  # noqa: S101 - guaranteed by the types of the spec; for the type checker
    return table


def _check_policy(config: Config, policy: GateSpec, rows: list[Row]) -> None:
    families = {kind.id.split(".")[0] for kind in KINDS}
    where = config.where("gate", "require")
    if not policy.require:
        raise UserError(f'{where}: gate.require names nothing, so anything would pass: write e.g. ["*"] or remove it')
    for pattern in policy.require:
        literal = literal_id(pattern)
        if not 1 <= len(pattern.split()) <= WORDS:
            raise UserError(f"{where}: gate.require: {pattern!r}: write 'id', 'id model' or 'id model precision'")
        if literal is not None and literal.split(".")[0] not in families:
            continue  # a check of the user's own: the gate requires its result
        if literal is not None and literal not in CATALOGUE:
            raise UserError(f"{where}: gate.require: {literal!r} is not a check{did_you_mean(literal, CATALOGUE)}")
        if not any(matches(pattern, row.id, row.model, row.precision) for row in rows):
            raise UserError(
                f"{where}: gate.require: {pattern!r} matches no planned check: declare what it needs (a limit, a "
                "precision, task, or carry for sequence.*), or remove the pattern"
            )
