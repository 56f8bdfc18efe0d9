"""Read limits from a robot's ROS 2 parameter file (``[models.NAME] isaac_ros``)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from hil.config.explain import Keys, Mistake
from hil.config.fields import PRECISIONS
from hil.errors import UserError
from hil.importers import isaac_ros

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hil.config.spec import CommonLimits, ConfigSpec, ModelSpec


@dataclass(frozen=True)
class Applied:
    """The config with the limits from parameter files, and the mistakes in these files.

    ``sources`` maps the path of each such limit to its file, line and parameter.
    """

    spec: ConfigSpec
    sources: Mapping[Keys, str] = field(default_factory=dict)
    mistakes: tuple[Mistake, ...] = ()


def applied(spec: ConfigSpec, root: Path) -> Applied:
    """Return ``spec`` with ``limits.fps`` of each model set to ``inference_fps`` of its parameter file, if it has one.

    A file that cannot be read, and a written limit that differs from the file, are mistakes. The paths of the files are
    relative to ``root``.
    """
    models = dict(spec.models)
    sources: dict[Keys, str] = {}
    wrong: list[Mistake] = []
    for name, model in spec.models.items():
        if model.isaac_ros is None:
            continue
        file, node = isaac_ros.split(model.isaac_ros)
        try:
            parameters = isaac_ros.read(root / file, node)
        except UserError as error:
            wrong.append(Mistake(("models", name, "isaac_ros"), str(error)))
            continue
        rate = parameters.inference_fps
        if rate is None:
            continue
        place = f"{PurePosixPath(file).name}:{parameters.lines['inference_fps']}"
        own = [(one, table) for one in PRECISIONS if (table := model.limits.own(one)) is not None]
        tables: list[tuple[Keys, CommonLimits]] = [((), model.limits), *(((one,), table) for one, table in own)]
        other = [keys for keys, table in tables if table.fps is not None and table.fps != rate]
        if other:
            what = f"the robot's node requires {rate:g} fps ({place}): use the same value, or remove this limit"
            wrong += [Mistake(("models", name, "limits", *keys, "fps"), what) for keys in other]
            continue
        models[name] = _limited(model, rate)
        sources["models", name, "limits", "fps"] = f"{place} inference_fps"
    return Applied(spec.model_copy(update={"models": models}), sources, tuple(wrong))


def _limited(model: ModelSpec, rate: float) -> ModelSpec:
    return model.model_copy(update={"limits": model.limits.model_copy(update={"fps": rate})})
