"""Contains the metrics of tasks, one module per kind of task.

A metric converts the outputs and labels of a batch to evidence per sample, from which a score is computed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hil.config.checks.cross_checks import METRICS
from hil.errors import UserError
from hil.metrics import boxes, classification, detection, embedding, own, regression, segmentation
from hil.metrics.classification import top1
from hil.metrics.metric import Arrays, Metric, mean
from hil.metrics.regression import absolute_error

if TYPE_CHECKING:
    from hil.config.spec import DetectionSpec

__all__ = ["METRICS", "Arrays", "Metric", "absolute_error", "mean", "open_metric", "top1"]

_OPEN = {
    "classification": classification.metric,
    "regression": regression.metric,
    "segmentation": segmentation.metric,
    "embedding": embedding.metric,
}


def open_metric(  # noqa: PLR0913 - all but the task have a default
    task: str,
    root: Path = Path(),
    *,
    name: str | None = None,
    boxes_as: DetectionSpec | None = None,
    model: str = "",
    where: str = "task",
) -> Metric:
    """Return the metric ``name`` of ``task``; for ``None``, the first metric of the task.

    ``task`` is a key of ``METRICS`` or, without ``name``, ``package.module:callable``. Such a callable takes outputs
    and labels of a batch as dicts of arrays and returns one finite score per sample, higher is better. It is imported
    from the folder ``root``, else as installed. ``boxes_as`` is the layout of a detector's outputs. Messages name
    ``model`` and ``where`` (``hil.toml:12``).

    Raise ``Unsupported`` if a library is missing, ``UserError`` for an unknown task or metric, a detection without a
    layout, or a callable that cannot be imported.
    """
    if ":" in task and name is None:
        return own.metric(task, root, model, where)
    if task not in METRICS:
        known_tasks = f"{', '.join(METRICS)} or package.module:callable"
        raise UserError(f"{where}: task {task!r} is not known: model {model}: write {known_tasks}")
    known = METRICS[task]
    if name is not None and name not in known:
        raise UserError(f"{where}: {task} has no metric {name!r}: model {model}: write {' or '.join(known)}")
    if task != "detection":
        return _OPEN[task](name or known[0])
    if boxes_as is None:
        table = f"[models.{model or 'NAME'}.detection]"
        raise UserError(f"{where}: the layout of the detected boxes is missing: model {model}: add the table {table}")
    decode = own.decoder(boxes_as, root, model, where) if boxes_as.decode else boxes.decoder(boxes_as)
    return detection.metric(name or known[0], decode)
