"""Eight comparisons that are invalid, because nothing or the wrong thing is compared: Polygraphy's verdict and ours.

Each is a pair of runs (iterations of named outputs) that no gate may pass. Polygraphy's verdict is ``bool()`` of the
result of ``Comparator.compare_accuracy``, which its users and its command line rely on; ours is the verdict of
``Comparison``.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hil.checks.comparison import Comparison
from hil.results import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

Iteration = dict[str, npt.NDArray[Any]]
Runs = dict[str, list[Iteration]]

A = np.linspace(0, 1, 8, dtype=np.float32).reshape(2, 4)
B = A[:, :2].copy()

HOLES: Mapping[str, Runs] = {
    "no iteration on either side": {"reference": [], "engine": []},
    "three iterations against one": {"reference": [{"a": A}] * 3, "engine": [{"a": A}]},
    "no runners at all": {},
    "one of two outputs is missing": {"reference": [{"a": A, "b": B}], "engine": [{"a": A}]},
    "an extra output that is NaN": {"reference": [{"a": A}], "engine": [{"a": A, "b": B * np.nan}]},
    "an output renamed: boxes against scores": {"reference": [{"boxes": A}], "engine": [{"scores": A}]},
    "both outputs empty": {"reference": [{"a": A[:0]}], "engine": [{"a": A[:0]}]},
    "int8 against uint8": {"reference": [{"a": A.astype(np.int8)}], "engine": [{"a": A.astype(np.uint8)}]},
}


def ours(runs: Runs) -> bool:
    """Return whether our comparison passes ``runs``."""
    sides = [[list(one.items()) for one in side] for side in runs.values()] or [[], []]
    return Comparison("fp32").consume(*sides).judge().verdict is Verdict.PASSED


def theirs(runs: Runs) -> bool:
    """Return whether Polygraphy's comparison passes ``runs``."""
    from polygraphy.comparator import Comparator, CompareFunc, IterationResult, RunResults

    silent = io.StringIO()
    with contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns about functions that its own examples use
        results = RunResults()
        for name, iterations in runs.items():
            results.append((name, [IterationResult(one, runner_name=name) for one in iterations]))
        return bool(Comparator.compare_accuracy(results, compare_func=CompareFunc.simple()))


def rows() -> list[dict[str, Any]]:
    """Return a row for each comparison: whether Polygraphy passes it, and whether we do."""
    return [{"part": "hole", "hole": name, "theirs": theirs(runs), "ours": ours(runs)} for name, runs in HOLES.items()]
