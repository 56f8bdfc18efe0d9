"""Checks of ``[models.NAME] guessed``: each entry names a key of the model's table that is written."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from hil.config.explain import Keys, Mistake, written

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hil.config.spec import ConfigSpec

# An entry that names no written key is a mistake: nobody would notice that what it refers to was never confirmed.
KEY = "guessed"
SHOWN = 3
"""The most guesses that a warning names."""


def mistakes(keys: Keys, model: Mapping[str, Any]) -> Iterator[Mistake]:
    """Yield each entry that is not the key of a value in the table ``model``, or that occurs twice."""
    listed = model.get(KEY)
    entries = listed if isinstance(listed, tuple) else ()
    for index, entry in enumerate(entries):
        place = (*keys, KEY, index)
        if not isinstance(entry, str):
            continue  # validation reports it
        path = _path(entry)
        if path is None or path[0] == KEY:
            example = 'write e.g. "task" or "inputs.images.shape"'
            yield Mistake(place, f"{entry!r} is not a key of this table: {example}")
        elif written(path) != entry:
            yield Mistake(place, f"{entry!r} is another spelling of a key: write {written(path)!r}")
        elif not _is_written(model, path):
            yield Mistake(place, f"this table has no key {entry}: delete this entry, or write the key that was guessed")
        elif entries.index(entry) < index:
            yield Mistake(place, f"{entry!r} is listed twice: remove one")


def doubts(spec: ConfigSpec) -> Iterator[Mistake]:
    """Yield one warning for each model with unconfirmed guesses."""
    for name, model in spec.models.items():
        if model.guessed:
            more = f" and {len(model.guessed) - SHOWN} more" if len(model.guessed) > SHOWN else ""
            what = f"{', '.join(model.guessed[:SHOWN])}{more}: check each, and delete its entry here to confirm it"
            yield Mistake(("models", name, KEY), f"guessed and not confirmed: {what}")


def _path(entry: str) -> Keys | None:
    """Return the parts of the dotted TOML key ``entry``; ``None`` if ``entry`` is not a key."""
    try:
        value: Any = tomllib.loads(f"{entry}=0")
    except (ValueError, RecursionError):
        return None
    path: list[str] = []
    while isinstance(value, dict):
        if len(value) != 1:  # a line break in the entry began a second key
            return None
        ((key, value),) = value.items()
        path.append(key)
    return tuple(path)


def _is_written(table: Any, path: Keys) -> bool:
    for key in path:
        if not isinstance(table, dict) or key not in table:
            return False
        table = table[key]
    return True
