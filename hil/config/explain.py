"""Turn pydantic's errors into messages: the key as written, what is wrong, and what to write instead."""

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
"""The maximum length, in characters, of a wrong value in a message."""


class Mistake(NamedTuple):
    """One mistake: the path of its key, and what is wrong."""

    keys: Keys
    what: str


def mistakes_of(errors: Sequence[ErrorDetails]) -> list[Mistake]:
    """Return a mistake for each error, without "too short" errors of arrays that have errors in their items."""

    def within(array: Keys) -> bool:
        return any(len(each["loc"]) > len(array) and tuple(each["loc"][: len(array)]) == array for each in errors)

    return [mistake(error) for error in errors if error["type"] != "too_short" or not within(tuple(error["loc"]))]


def mistake(error: ErrorDetails) -> Mistake:
    """Return the mistake for one pydantic error of ``ConfigSpec``, in terms of ``hil.toml``."""
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
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    if keys[:2] == HISTORY:  # the value may contain a password
        return "expected the URL of a history as a string: write e.g. 'sqlite:///history.db'"
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        names = choices(keys)
        return f"{shown(value)} is not one of {', '.join(names)}{_suggestion(value, names)}"
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
    return f"{what} {shown(value)}"


def written(keys: Sequence[str | int]) -> str:
    """Return keys in TOML notation: ``models.digits.on."a b".limits``, ``precisions[1]``."""
    text = ""
    for key in keys:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            plain = key if BARE.fullmatch(key) else quoted(key)
            text += f".{plain}" if text else plain
    return text


def quoted(text: str) -> str:
    """Return ``text`` as a TOML basic string."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def choices(keys: Keys) -> list[str]:
    """Return what may be written at ``keys``: the keys of a table, the allowed names, or the allowed values.

    Empty if anything of the right type is allowed.
    """
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
    """Return ``value`` as text for a message: cut after ``SHOWN`` characters, arrays in brackets."""
    text = repr(list(value)) if isinstance(value, tuple) else repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _missing(keys: Keys, table: Any) -> str:
    unknown = [key for key in table if key not in choices(keys[:-1])] if isinstance(table, dict) else []
    typo = next((key for key in unknown if did_you_mean(str(keys[-1]), [key]).endswith("?")), None)
    return "must be given" if typo is None else f"must be given: is {typo!r} a typo of it?"


def _suggestion(value: Any, names: list[str]) -> str:
    hint = did_you_mean(value, names) if isinstance(value, str) else ""
    return hint if hint.endswith("?") else ""


def _bare(annotation: Any) -> Any:
    """Return an annotation without ``Annotated`` and ``| None``."""
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
