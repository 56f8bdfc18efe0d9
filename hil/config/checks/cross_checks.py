"""Check what the pydantic models cannot express: names, files that must exist, keys that depend on each other.

Each rule reads the plain values of ``hil.toml``, even if pydantic's validation fails.
"""

from __future__ import annotations

import os
import re
from difflib import SequenceMatcher
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from hil.config.checks import guess_checks, pool_checks
from hil.config.data_sources import SYNTHETIC, SourceKind, is_callable, source_kind
from hil.config.explain import Keys, Mistake
from hil.config.fields import BROUGHT
from hil.errors import did_you_mean, nearest
from hil.importers.isaac_ros import split
from hil.jetson import likely_slugs
from hil.onnx_files.precisions import how_to_bring

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
"""The pattern of model and target names, which become parts of ids and file names."""

MAX_NAME = 100
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
WORDS = ("host", "user", "jump", "identity", "known_hosts", "python", "store", "coordinator")
METRICS: Mapping[str, tuple[str, ...]] = {
    "classification": ("top1", "top5"),
    "regression": ("mae", "rmse", "angle"),
    "detection": ("map", "map50"),
    "segmentation": ("miou",),
    "embedding": ("retrieval",),
}
"""The tasks with built-in metrics (``hil.metrics``); the first metric of a task is its default."""
MISSPELT = 0.8
"""The similarity (difflib's ratio) from which an unknown target counts as misspelt."""

Values = dict[str, Any]


def mistakes(values: Values, root: Path) -> Iterator[Mistake]:
    """Yield the mistakes in the plain values of a config file; paths in it are relative to ``root``."""
    targets, models = _table(values, "targets"), _table(values, "models")
    yield from _names(("targets",), targets)
    yield from _names(("models",), models)
    for name, target in targets.items():
        if isinstance(target, dict) and target.get("kind") == "ssh" and "host" not in target:
            yield Mistake(
                ("targets", name, "kind"), "ssh needs the key 'host': a host name or an alias of ~/.ssh/config"
            )
        yield from pool_checks.mistakes(name, targets)
        yield from _board(("targets", name, "board"), target)
        yield from _words(("targets", name), target)
        yield from _deployed(("targets", name, "deploy"), _table(target, "deploy"), root)
    for name, model in models.items():
        if isinstance(model, dict):
            keys = ("models", name)
            yield from _files(keys, model, root)
            yield from _built_with(keys, model, root)
            yield from _callables(keys, model)
            yield from _precisions(keys, model)
            yield from _intervals(keys, model)
            yield from _targets(keys, model, targets)
            yield from guess_checks.mistakes(keys, model)


def _words(keys: Keys, target: Any) -> Iterator[Mistake]:
    """Yield a mistake for each text in the table ``target`` under a key of ``WORDS`` that has a control character."""
    for key in WORDS if isinstance(target, dict) else ():
        value = target.get(key)
        if isinstance(value, str) and CONTROL.search(value):
            yield Mistake((*keys, key), f"{value!r} contains a control character: remove it")


def unknown_targets(values: Values) -> Iterator[Mistake]:
    """Yield each ``on.TARGET`` whose target this file does not declare: valid, but without effect."""
    targets = _table(values, "targets")
    for name, model in _table(values, "models").items():
        for target in _table(model, "on"):
            if target not in targets and target != "cpu":
                what = "this file does not declare this target, so the table has no effect: declare it, or remove this"
                yield Mistake(("models", name, "on", target), what)


def _table(values: Any, key: str) -> Values:
    table = values.get(key) if isinstance(values, dict) else None
    return table if isinstance(table, dict) else {}


def _names(keys: Keys, table: Values) -> Iterator[Mistake]:
    for name in table:
        if NAME.fullmatch(name) is None or len(name) > MAX_NAME:
            what = "names are letters, digits, '_', '.' and '-', begin with a letter or digit"
            yield Mistake((*keys, name), f"{what}, and are at most {MAX_NAME} long")


def _board(keys: Keys, target: Any) -> Iterator[Mistake]:
    """Yield a mistake for a board name that resembles the name of a Jetson module; other names may be those of GPUs."""
    board = target.get("board") if isinstance(target, dict) else None
    slugs = likely_slugs(board) if isinstance(board, str) else ()
    if slugs:
        yield Mistake(keys, f"{board!r} is not a Jetson module: did you mean {' or '.join(map(repr, slugs))}?")


def _named_files(model: Values) -> Iterator[tuple[Keys, Any]]:
    for key in ("path", "deployed", "engine", "reference", "isaac_ros"):
        path = model.get(key)
        if isinstance(path, str) and key == "isaac_ros":
            path = split(path)[0]
        if isinstance(path, dict):
            yield from (((key, inner), file) for inner, file in path.items())
        else:
            yield (key,), path


def _files(keys: Keys, model: Values, root: Path) -> Iterator[Mistake]:
    for inner, path in _named_files(model):
        if isinstance(path, str) and not os.path.isfile(root / path):  # noqa: PTH113 - never raises
            yield Mistake((*keys, *inner), _no_file("file", path, root))
    sources: dict[Keys, Any] = {("data",): model.get("data"), ("training_data",): model.get("training_data")}
    sources["calibration", "data"] = _table(model, "calibration").get("data")
    kinds = set()
    for inner, source in sources.items():
        if not isinstance(source, str):
            continue
        kind = source_kind(source, root)
        kinds.add(kind)
        if kind is None:
            what = ".npz file, Polygraphy's .json, folder or package.module:callable"
            yield Mistake((*keys, *inner), _no_file(what, source, root))
        elif (
            kind is SourceKind.FOLDER
            and "preprocess" not in model
            and not (_recurrent(model) and next((root / source).glob("*.npz"), None))
        ):
            what = "a folder also needs the key 'preprocess': package.module:callable, called with a path"
            yield Mistake((*keys, *inner), what)
    if "preprocess" in model and None not in kinds and SourceKind.FOLDER not in kinds:
        yield Mistake((*keys, "preprocess"), "no data of this model is a folder, so this has no effect: remove it")
    if model.get("training_data") == SYNTHETIC:
        yield Mistake(
            (*keys, "training_data"), "training data cannot be synthetic: name the real data or remove this key"
        )


def _recurrent(model: Values) -> bool:
    """Return whether an input of the model carries a state, so that a folder may have one file for each sequence."""
    return any(isinstance(one, dict) and "carry" in one for one in _table(model, "inputs").values())


def _built_with(keys: Keys, model: Values, root: Path) -> Iterator[Mistake]:
    """Yield plugin libraries that do not exist or are listed twice, and missing engine files under ``on.TARGET``."""
    places: dict[Keys, Any] = {("build",): _table(model, "build")}
    for target, override in _table(model, "on").items():
        places["on", target, "build"] = _table(override, "build")
        engine = override.get("engine") if isinstance(override, dict) else None
        if isinstance(engine, str) and not os.path.isfile(root / engine):  # noqa: PTH113 - never raises
            yield Mistake((*keys, "on", target, "engine"), _no_file("file", engine, root))
    for inner, build in places.items():
        plugins = build.get("plugins")
        for plugin in plugins if isinstance(plugins, (tuple, list)) else ():
            if isinstance(plugin, str) and not os.path.isfile(root / plugin):  # noqa: PTH113 - as above
                yield Mistake((*keys, *inner, "plugins"), _no_file("plugin library", plugin, root))
        if isinstance(plugins, (tuple, list)) and any(plugins.count(plugin) > 1 for plugin in plugins):
            yield Mistake((*keys, *inner, "plugins"), "the same plugin library is listed twice: remove one")


def _deployed(keys: Keys, table: Values, root: Path) -> Iterator[Mistake]:
    """Yield a mistake for each file of ``deploy.config`` and ``deploy.keys`` that does not exist on this machine."""
    for key, kind in (("config", "file"), ("keys", "public key")):
        listed = table.get(key)
        for file in listed if isinstance(listed, (tuple, list)) else ():
            if isinstance(file, str) and not os.path.isfile(root / file):  # noqa: PTH113 - as above
                yield Mistake((*keys, key), _no_file(kind, file, root))


def _no_file(kind: str, path: str, root: Path) -> str:
    full = os.path.join(root, path)  # noqa: PTH118 - as above
    folder, name = os.path.split(full)
    try:
        near = nearest(name, os.listdir(folder))  # noqa: PTH208 - as above
    except (OSError, ValueError):
        near = None
    hint = f"did you mean {near!r}?" if near and near != name else "paths are relative to this file"
    return f"no such {kind}: {full!r}: {hint}"


def _callables(keys: Keys, model: Values) -> Iterator[Mistake]:
    preprocess, task = model.get("preprocess"), model.get("task")
    if isinstance(preprocess, str) and not is_callable(preprocess):
        yield Mistake((*keys, "preprocess"), f"{preprocess!r} is not written as package.module:callable")
    if isinstance(task, str) and task not in METRICS and not is_callable(task):
        what = f"{task!r} is neither a known task nor package.module:callable"
        yield Mistake((*keys, "task"), what + did_you_mean(task, METRICS))
    yield from _scoring(keys, model, task if isinstance(task, str) else "")


def _scoring(keys: Keys, model: Values, task: str) -> Iterator[Mistake]:
    """Yield a metric that does not belong to the task, and a missing, unused or contradictory ``detection`` table."""
    metric, detection = model.get("metric"), model.get("detection")
    known = METRICS.get(task, ())
    if isinstance(metric, str) and metric not in known:
        belongs = f"it has {' and '.join(known)}" if known else "only built-in tasks have a choice of metrics"
        yield Mistake(
            (*keys, "metric"), f"{metric!r} is not a metric of task {task!r}: {belongs}" + did_you_mean(metric, known)
        )
    if task == "detection" and detection is None:
        table = ".".join(str(key) for key in keys)
        yield Mistake(
            (*keys, "task"), f"detection needs the table [{table}.detection], which describes the layout of the boxes"
        )
    boxes = any(isinstance(one, dict) and one.get("kind") == "detection" for one in _table(model, "outputs").values())
    if detection is not None and task != "detection" and not boxes:
        what = f"describes the layout of a detector's boxes, but the task is {repr(task) if task else 'not given'}"
        advice = 'write task = "detection", or kind = "detection" of an output, or remove this table'
        yield Mistake((*keys, "detection"), f"{what}: {advice}")
    decode = detection.get("decode") if isinstance(detection, dict) else None
    if isinstance(decode, str) and not is_callable(decode):
        yield Mistake((*keys, "detection", "decode"), f"{decode!r} is not written as package.module:callable")
    if decode is not None and isinstance(detection, dict) and {"layout", "boxes"} & set(detection):
        yield Mistake(
            (*keys, "detection", "decode"), "decodes the boxes, so layout and boxes have no effect: remove them"
        )


def _precisions(keys: Keys, model: Values) -> Iterator[Mistake]:
    places: dict[Keys, Values] = {("precisions",): model}
    for target, override in _table(model, "on").items():
        places["on", target, "precisions"] = override if isinstance(override, dict) else {}
    for inner, place in places.items():
        listed = place.get("precisions")
        precisions = listed if isinstance(listed, tuple) else ()
        if any(precisions.count(precision) > 1 for precision in precisions):
            yield Mistake((*keys, *inner), "the same precision is listed twice: remove one")
        if listed == ():
            yield Mistake((*keys, *inner), "no precision is given: write at least one, e.g. ['fp32']")
        # An existing engine or deployed graph was calibrated when it was made.
        has_engine = "engine" in model or "engine" in place or "deployed" in model
        if "int8" in precisions and "calibration" not in model and not has_engine:
            table = ".".join(str(key) for key in keys)
            yield Mistake((*keys, *inner), f"int8 needs the table [{table}.calibration] with the key 'data'")
        deployed = model.get("deployed")
        for precision in () if "engine" in model or "engine" in place else BROUGHT:
            lacking = "deployed" not in model or (isinstance(deployed, dict) and precision not in deployed)
            if precision in precisions and lacking:
                yield Mistake((*keys, *inner), how_to_bring(str(model.get("path")), precision))


def _intervals(keys: Keys, model: Values) -> Iterator[Mistake]:
    for key, words in (("shapes", "[min, opt, max]"), ("ranges", "[least, greatest]")):
        for name, bounds in _table(model, key).items():
            if isinstance(bounds, tuple) and all(isinstance(bound, (int, float)) for bound in bounds):
                ordered = all(low <= high for low, high in pairwise(bounds))
                if not ordered:
                    yield Mistake((*keys, key, name), f"{words} must not decrease: got {list(bounds)}")


def _targets(keys: Keys, model: Values, targets: Mapping[str, Any]) -> Iterator[Mistake]:
    known = {*targets, "cpu"}
    for target in _table(model, "on"):
        near = nearest(target, known - {target})
        # A name that resembles no other name is probably a board that is not in this file, not a typo.
        if target not in known and near and SequenceMatcher(None, target, near).ratio() >= MISSPELT:
            yield Mistake((*keys, "on", target), f"unknown target: did you mean {near!r}?")
