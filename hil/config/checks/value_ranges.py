"""Find limits that every model meets, anywhere in a config, and empty lists of demands."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

from hil.config.explain import Keys, Mistake
from hil.config.fields import Reach
from hil.units import Dimension, parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DEMANDS = frozenset({"signed_by", "state", "keys"})
"""Keys whose elements are demands. An empty list demands nothing, as if a variable in a template was not set."""


def mistakes(table: BaseModel | Mapping[str, Any], keys: Keys = ()) -> Iterator[Mistake]:
    """Yield a mistake for each value in ``table`` and its sub-tables that the ``Reach`` of its key refuses.

    Also yield a mistake for each key of ``DEMANDS`` whose list is empty. ``keys`` is the path of ``table``. Values
    inside lists are not checked.
    """
    declared: dict[str, Reach] = {}
    values: Mapping[str, Any]
    if isinstance(table, BaseModel):
        declared = declared_by(type(table))
        values = {name: getattr(table, name) for name in type(table).model_fields}
        for name in sorted(DEMANDS & table.model_fields_set):
            if values[name] == ():
                yield Mistake((*keys, name), "is empty, so it demands nothing: name at least one, or remove the key")
    else:
        values = table
    for name, value in values.items():
        if isinstance(value, (BaseModel, dict)):
            yield from mistakes(value, (*keys, name))
        elif name in declared and value is not None:
            # Only an age is stored as text.
            wrong = declared[name].wrong(parse(value, Dimension.AGE) if isinstance(value, str) else value)
            if wrong:
                yield Mistake((*keys, name), wrong)


@lru_cache(64)
def declared_by(table: type[BaseModel]) -> dict[str, Reach]:
    """Return, by name, the ``Reach`` of each key of ``table`` that has one."""
    reaches = {
        name: next(_reaches_of(field.annotation, field.metadata), None) for name, field in table.model_fields.items()
    }
    return {name: reach for name, reach in reaches.items() if reach is not None}


def _reaches_of(kind: Any, metadata: list[Any]) -> Iterator[Reach]:
    """Yield each ``Reach`` of a field, in its metadata or its annotation ``kind``."""
    yield from (item for item in metadata if isinstance(item, Reach))
    for part in get_args(kind):
        if isinstance(part, Reach):
            yield part
        else:
            yield from _reaches_of(part, [])
