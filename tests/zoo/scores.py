"""The score of a text recognizer, as its user writes it: copied into the project of the third-party models."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[Any]]


def characters(outputs: Arrays, labels: Arrays) -> NDArray[np.float64]:
    """Return, for each sample, the similarity of the text that was read and the text of the label, from 0 to 1.

    ``outputs`` has one array [samples, steps, characters]; character 0 separates equal characters. The array ``labels``
    of the data has the key ``""``.
    """
    (scores,) = outputs.values()
    result = []
    for steps, label in zip(scores.argmax(-1), labels[""], strict=True):
        read = steps[(steps != 0) & (steps != np.concatenate([[0], steps[:-1]]))]
        result.append(SequenceMatcher(None, list(read), list(label[label >= 0])).ratio())
    return np.array(result)
