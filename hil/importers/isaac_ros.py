"""Read the ROS 2 parameter file of an Isaac ROS inference node: its engine, its tensor names and its rate.

The keys are those of ``isaac_ros_dnn_inference``'s TensorRT node (its README, "ROS Parameters"), and ``inference_fps``.
A node's own parameters override those of a wildcard such as ``/**`` (ROS 2 design, "Node parameters from YAML").
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hil.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import yaml

LARGEST = 1 << 20
PARAMETERS = "ros__parameters"
NAMES = ("input_tensor_names", "output_tensor_names", "input_binding_names", "output_binding_names")
KEYS = ("engine_file_path", *NAMES, "inference_fps", "max_batch_size")
DEEPEST = 16


@dataclass(frozen=True)
class Node:
    """The parameters of one node; a parameter that the file does not set is ``None``.

    ``lines`` has the line (from 1) of each parameter that is set.
    """

    name: str
    engine_file_path: str | None
    input_tensor_names: tuple[str, ...] | None
    output_tensor_names: tuple[str, ...] | None
    input_binding_names: tuple[str, ...] | None
    output_binding_names: tuple[str, ...] | None
    inference_fps: float | None
    max_batch_size: int | None
    lines: Mapping[str, int]


SCALARS: Mapping[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": lambda text: text.lower() in {"true", "yes", "on"},
}
"""The conversion of a scalar, by the last part of its YAML tag; a scalar with another tag becomes ``None``."""

Parameters = dict[str, tuple[Any, int]]
"""A node's keys with their values and lines."""


def split(text: str) -> tuple[str, str | None]:
    """Split ``params.yaml#/camera/trt`` into path and node name; without ``#`` the node is ``None``."""
    path, mark, node = text.partition("#")
    return path, node if mark else None


def read(path: Path, requested: str | None = None) -> Node:
    """Return the inference node called ``requested`` of a parameter file; if this is ``None``, the only one there.

    Raise ``UserError`` if the file is not a parameter file, if it has no such node, or if ``requested`` is ``None`` and
    there are several inference nodes.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}: correct isaac_ros in hil.toml") from None
    if len(content) > LARGEST:
        what = f"larger than {LARGEST >> 20} MiB, so it is not a parameter file"
        raise UserError(f"{path}: {what}: correct isaac_ros in hil.toml")
    return inference_node(nodes(content, path.name), path.name, requested)


def inference_node(parameters: Mapping[str, Parameters], file: str, requested: str | None) -> Node:
    """Return the inference node ``requested``; if this is ``None``, the only inference node of the file.

    The node also has the parameters of wildcards that match its name. If the file names only wildcards, these count as
    nodes. Raise ``UserError`` if there is no such node, or if there are several and ``requested`` is ``None``.
    """
    wild = {name: keys for name, keys in parameters.items() if "*" in name}
    own = {name: keys for name, keys in parameters.items() if "*" not in name}
    whole = {name: {**_wildcard_parameters(wild, name), **keys} for name, keys in own.items()} or wild
    able = {name: keys for name, keys in whole.items() if any(key in keys for key in KEYS)}
    if requested is not None:
        name = requested if requested.startswith("/") else f"/{requested}"
        if name not in able:
            raise UserError(f"{file}: no inference node is called {name!r}{did_you_mean(name, able)}")
        able = {name: able[name]}
    if not able:
        raise UserError(f"{file}: no node has parameters of an inference node: set e.g. input_binding_names")
    if len(able) > 1:
        names = ", ".join(able)
        raise UserError(f"{file}: several nodes are inference nodes ({names}): write e.g. '{file}#{next(iter(able))}'")
    ((name, keys),) = able.items()
    return _node(name, keys, file)


def _wildcard_parameters(wild: Mapping[str, Parameters], name: str) -> Parameters:
    """Return the parameters that wildcards set for the node ``name``. A later wildcard overrides an earlier one."""
    matching: Parameters = {}
    for pattern, keys in wild.items():
        pieces = re.split(r"(\*\*|\*)", pattern)
        parts = [{"**": ".*", "*": "[^/]+"}.get(piece, re.escape(piece)) for piece in pieces]
        if re.fullmatch("".join(parts), name):
            matching |= keys
    return matching


def _node(name: str, keys: Parameters, file: str) -> Node:
    values: dict[str, Any] = dict.fromkeys(KEYS)
    for key in KEYS:
        if key in keys:
            value, line = keys[key]
            values[key] = _converted(key, value, f"{file}:{line}: {name}: {key}")
    return Node(name=name, lines={key: keys[key][1] for key in KEYS if key in keys}, **values)


def _converted(key: str, value: Any, where: str) -> Any:
    """Return ``value`` converted to the type of the parameter ``key``. Raise ``UserError`` for an invalid value."""
    if key in NAMES:
        listed = [value] if isinstance(value, str) else value
        if not isinstance(listed, list) or not all(isinstance(name, str) and name for name in listed):
            raise UserError(f"{where}: {value!r} is not a list of names: write e.g. ['input']")
        return tuple(listed)
    if key == "engine_file_path":
        if not isinstance(value, str) or not value:
            raise UserError(f"{where}: {value!r} is not a path: write it as /…")
        return value
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if key == "inference_fps" and is_number and 0 < value < float("inf"):
        return float(value)
    if key == "max_batch_size" and type(value) is int and value >= 1:
        return value
    expected = "a rate, e.g. 30.0" if key == "inference_fps" else "a number of samples, e.g. 1"
    raise UserError(f"{where}: {value!r} is not {expected}: correct it")


def nodes(content: bytes, file: str) -> dict[str, Parameters]:
    """Return the parameters of each node of a parameter file, by the node's full name or wildcard.

    ``file`` is the file's name for messages. Raise ``UserError`` if ``content`` is not a ROS 2 parameter file.
    """
    import yaml

    try:
        root = yaml.compose(content.decode("utf-8"), Loader=yaml.SafeLoader)
        aliases = any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(content, Loader=yaml.SafeLoader))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{file}:{mark.line + 1}" if mark else file
        what = " ".join(str(getattr(error, "problem", None) or error).split())
        raise UserError(f"{place}: not YAML: {what[:200]}: correct it, or correct isaac_ros in hil.toml") from None
    if aliases:
        raise UserError(f"{file}: has an alias (*name), which ROS 2 does not support: repeat the value instead")
    return dict(_walk(root, "", file, 0))


def _walk(node: yaml.Node | None, name: str, file: str, depth: int) -> Iterator[tuple[str, Parameters]]:
    if depth > DEEPEST:
        raise UserError(f"{file}: nested too deeply for a parameter file: correct isaac_ros in hil.toml")
    for key, line, value in _pairs(node, file):
        if key == PARAMETERS:
            yield name or "/", {inner: (_plain(item), at) for inner, at, item in _pairs(value, file)}
        else:
            full = key if key.startswith("/") and not name else f"{name}/{key.strip('/')}"
            yield from _walk(value, full, f"{file}:{line}" if ":" not in file else file, depth + 1)


def _pairs(node: yaml.Node | None, file: str) -> Iterator[tuple[str, int, yaml.Node]]:
    """Yield key, line and value of each entry of a mapping.

    Raise ``UserError`` if ``node`` is not a mapping, or if a key occurs twice or is not a scalar.
    """
    import yaml

    if not isinstance(node, yaml.MappingNode):
        what = f"not a ROS 2 parameter file, which has nodes with {PARAMETERS}"
        raise UserError(f"{file}: {what}: correct isaac_ros in hil.toml")
    names: set[str] = set()
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode) or key.value in names:
            raise UserError(f"{file.partition(':')[0]}:{line}: a key is not a word, or occurs twice: correct it")
        names.add(key.value)
        yield key.value, line, value


def _plain(node: yaml.Node) -> Any:
    """Return the value of a YAML node: text, number, boolean or a list of these; ``None`` for anything else."""
    import yaml

    if isinstance(node, yaml.SequenceNode):
        return [_plain(item) if isinstance(item, yaml.ScalarNode) else None for item in node.value]
    if not isinstance(node, yaml.ScalarNode):
        return None
    make = SCALARS.get(str(node.tag).rpartition(":")[2])
    try:
        return None if make is None else make(str(node.value))
    except ValueError:
        return None
