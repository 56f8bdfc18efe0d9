"""Scores classification: the share of samples whose label has the largest logit, or one of the five largest."""

from __future__ import annotations

from functools import partial

import numpy as np

from hil.dtypes import is_finite
from hil.errors import UserError
from hil.metrics.metric import Array, Arrays, FloatArray, Metric, class_labels, labelled

FIVE = 5


def metric(name: str) -> Metric:
    """Return the metric ``top1`` or ``top5``."""
    if name == "top5":
        return Metric(name, "top5_drop", "1", partial(ranked, FIVE))
    return Metric("top1", "top1_drop", "1", top1)


def top1(outputs: Arrays, labels: Arrays) -> FloatArray:
    """Return the score of each sample, shape (n,): 1.0 if the label's entry is the largest along the last axis, else 0.

    A sample with several labels scores the mean over them. Labels are integers in the shape of the output without its
    last axis, or with a last axis of size 1. Logits that are not finite score 0. Raise ``UserError`` for labels that do
    not fit.
    """
    return ranked(1, outputs, labels)


def ranked(most: int, outputs: Arrays, labels: Arrays) -> FloatArray:
    """Return scores as ``top1`` does, but 1.0 if the label's entry is among the ``most`` largest.

    Of equal entries, the first counts as larger, as in argmax.
    """
    name, truth = labelled(outputs, labels, ranked=True)
    logits = outputs[name]
    truth = truth[..., 0] if truth.ndim == logits.ndim and truth.shape[-1] == 1 else truth
    if truth.shape != logits.shape[:-1]:
        raise UserError(
            f"labels have shape {list(truth.shape)}, output {name!r} has {list(logits.shape)}: give one label per "
            "position, without the last axis"
        )
    if most > 1 and logits.shape[-1] <= most:
        raise UserError(f"output {name!r} has {logits.shape[-1]} classes, so any label is in the top {most}: use top1")
    truth = class_labels(name, truth, logits.shape[-1])
    finite = is_finite(logits).all(axis=-1)
    hits = (_rank(logits, truth) < most) & finite
    return np.asarray(hits.reshape(len(hits), -1).mean(axis=1), dtype=np.float64)


def _rank(logits: Array, truth: Array) -> Array:
    """Return, for each row of ``logits``, how many entries are ranked before the entry of the label ``truth``."""
    own = np.take_along_axis(logits, truth[..., None].astype(np.int64), axis=-1)
    first = np.arange(logits.shape[-1]) < truth[..., None]
    return np.asarray(((logits > own) | ((logits == own) & first)).sum(axis=-1))
