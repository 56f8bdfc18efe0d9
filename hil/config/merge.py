"""What a model is on one target: ``[models.NAME.on.TARGET]`` over ``[models.NAME]``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

if TYPE_CHECKING:
    from hil.config.spec import ModelSpec

SomeModel = TypeVar("SomeModel", bound=BaseModel)


def on_target(model: ModelSpec, target: str) -> ModelSpec:
    """``model`` with the keys that ``on.TARGET`` really gives, table by table; the rest stays as it was."""
    override = model.on.get(target)
    return model if override is None else _merged(model, override)


def _merged(base: SomeModel, override: BaseModel) -> SomeModel:
    # Only keys that were written: an override's defaults must not undo what the model says.
    given = {name: _over(getattr(base, name), getattr(override, name)) for name in override.model_fields_set}
    return base.model_copy(update=given)


def _over(base: Any, override: Any) -> Any:
    if isinstance(base, BaseModel) and isinstance(override, BaseModel):
        return _merged(base, override)
    if isinstance(base, dict) and isinstance(override, dict):
        return {**base, **{key: _over(base.get(key), value) for key, value in override.items()}}
    return override
