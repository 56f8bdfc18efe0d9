"""pydantic's errors -> what to change: the key as it is written, what is wrong, what would be right."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel

from hil.config.locate import BARE
from hil.config.spec import ConfigSpec
from hil.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic_core import ErrorDetails

Keys = tuple["str | int", ...]

EXPECTED = {
    "string_type": 'a text in quotes, e.g. "text"',
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "an array, e.g. [1, 2]",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "dict_type": "a table",
    "finite_number": "a finite number",
}
BOUNDS = {
    "greater_than": ("gt", "must be more than"),
    "greater_than_equal": ("ge", "must be at least"),
    "less_than": ("lt", "must be less than"),
    "less_than_equal": ("le", "must be at most"),
}
SHOWN = 60
"""Characters shown of a value that is wrong."""


class Mistake(NamedTuple):
    """One thing to change: the keys it is about, and what is wrong with it."""

    keys: Keys
    what: str


def mistakes_of(errors: Sequence[ErrorDetails]) -> list[Mistake]:
    """All of pydantic's errors; that an array is short of what was wrong in it is no mistake of its own."""

    def within(array: Keys) -> bool:
        return any(len(one["loc"]) > len(array) and tuple(one["loc"][: len(array)]) == array for one in errors)

    return [mistake(one) for one in errors if one["type"] != "too_short" or not within(tuple(one["loc"]))]


def mistake(error: ErrorDetails) -> Mistake:
    """One of pydantic's errors about ``ConfigSpec``, in the words of ``hil.toml``."""
    keys = tuple(error["loc"])
    if keys and keys[-1] == "[key]":
        keys = keys[:-1]
        return Mistake(keys, f"unknown name{did_you_mean(str(error['input']), choices(keys[:-1]))}")
    if error["type"] == "extra_forbidden":
        return Mistake(keys, f"unknown key{did_you_mean(str(keys[-1]), choices(keys[:-1]))}")
    if error["type"] == "missing":
        return Mistake(keys, _missing(keys, error["input"]))
    return Mistake(keys, _wrong_value(keys, error))


HISTORY = ("project", "history")


def _wrong_value(keys: Keys, error: ErrorDetails) -> str:
    kind, given, context = error["type"], error["input"], error.get("ctx", {})
    if keys[:2] == HISTORY:  # a password may be in it
        return "expected the URL of a history, as a text"
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        names = choices(keys)
        return f"{shown(given)} is none of {', '.join(names)}{_slip(given, names)}"
    if kind in BOUNDS:
        name, words = BOUNDS[kind]
        what = f"{words} {context[name]:g}: got"
    elif kind in EXPECTED:
        what = f"expected {EXPECTED[kind]}: got"
    elif kind in {"too_short", "too_long"}:
        bound = context.get("min_length") or context.get("max_length")
        what = f"expected {bound} or {'more' if kind == 'too_short' else 'fewer'}: got"
    else:
        what = f"{error['msg']}: got"
    return f"{what} {shown(given)}"


def written(keys: Sequence[str | int]) -> str:
    """Keys as TOML writes them: ``models.digits.on."a b".limits``, ``precisions[1]``."""
    text = ""
    for key in keys:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            plain = key if BARE.fullmatch(key) else quoted(key)
            text += f".{plain}" if text else plain
    return text


def quoted(text: str) -> str:
    """A TOML basic string. JSON escapes the same characters, but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def choices(keys: Keys) -> list[str]:
    """What may stand at ``keys``: a table's keys, a dictionary's names or a literal's values."""
    place: Any = ConfigSpec
    for key in keys:
        place = _inner(_bare(place), key)
    place = _bare(place)
    if isinstance(place, type) and issubclass(place, BaseModel):
        return list(place.model_fields)
    if get_origin(place) is dict:
        place = _bare(get_args(place)[0])
    return [str(value) for value in get_args(place)] if get_origin(place) is Literal else []


def shown(value: Any) -> str:
    """A value as it may stand in a message: short, arrays in brackets."""
    text = repr(list(value)) if isinstance(value, tuple) else repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _missing(keys: Keys, given: Any) -> str:
    others = [key for key in given if key not in choices(keys[:-1])] if isinstance(given, dict) else []
    slip = next((key for key in others if did_you_mean(str(keys[-1]), [key]).endswith("?")), None)
    return "must be given" if slip is None else f"must be given: is it what {slip!r} was meant to be?"


def _slip(given: Any, names: list[str]) -> str:
    hint = did_you_mean(given, names) if isinstance(given, str) else ""
    return hint if hint.endswith("?") else ""


def _bare(annotation: Any) -> Any:
    """An annotation without ``Annotated`` and ``| None``."""
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation = get_args(annotation)[0]
        elif origin is Union or getattr(origin, "__name__", "") == "UnionType":
            annotation = next(part for part in get_args(annotation) if part is not type(None))
        else:
            return annotation


def _inner(place: Any, key: str | int) -> Any:
    if isinstance(place, type) and issubclass(place, BaseModel):
        field = place.model_fields.get(str(key))
        return None if field is None else field.annotation
    arguments = get_args(place)
    return (arguments[1] if get_origin(place) is dict else arguments[0]) if arguments else None
