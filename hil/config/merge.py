"""Apply ``[models.NAME.on.TARGET]`` to ``[models.NAME]``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hil.config.explain import Keys
    from hil.config.limits import PrecisionLimits
    from hil.config.spec import LimitsSpec, ModelSpec

SomeModel = TypeVar("SomeModel", bound=BaseModel)


def on_target(model: ModelSpec, target: str) -> ModelSpec:
    """Return ``model`` with the keys that are written in ``on.TARGET``, merged table by table."""
    override = model.on.get(target)
    return model if override is None else _merged(model, override)


def limits_of(limits: LimitsSpec, precision: str) -> PrecisionLimits:
    """Return the limits that apply to ``precision``: those of its own table, and the general ones for other keys."""
    from hil.config.limits import CommonLimits, PrecisionLimits

    own, shared = limits.own(precision), CommonLimits.model_fields
    general = PrecisionLimits().model_copy(
        update={key: getattr(limits, key) for key in limits.model_fields_set if key in shared}
    )
    return general if own is None else _merged(general, own)


def _merged(base: SomeModel, override: BaseModel) -> SomeModel:
    # Only written keys: an override's defaults must not replace the model's values.
    written = {name: _over(getattr(base, name), getattr(override, name)) for name in override.model_fields_set}
    return base.model_copy(update=written)


def _over(base: Any, override: Any) -> Any:
    if isinstance(base, BaseModel) and isinstance(override, BaseModel):
        return _merged(base, override)
    if isinstance(base, dict) and isinstance(override, dict):
        return {**base, **{key: _over(base.get(key), value) for key, value in override.items()}}
    return override


def variants(model: ModelSpec) -> Iterator[tuple[Keys, ModelSpec]]:
    """Yield ``()`` and the model as written, then ``("on", TARGET)`` and the model on each target with overrides."""
    yield (), model
    for target in model.on:
        yield ("on", target), on_target(model, target)
