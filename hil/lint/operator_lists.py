"""The operators that TensorRT's ONNX parser imports, by release of TensorRT, from ``tensorrt_operators.json``.

The lists are those of onnx-tensorrt at the commit that NVIDIA pins for the release. A release without a list has the
operators on which the lists before and after it agree.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

Answer = Literal["yes", "no", "unknown"]

FILE = Path(__file__).with_name("tensorrt_operators.json")


@dataclass(frozen=True)
class OperatorList:
    """One release's operators.

    Attributes:
        tensorrt: the release.
        commit: the commit of onnx-tensorrt.
        source: the files there that the list was read from.
        opset: the newest opset that the parser states to support.
        operators: the names; the parser ignores domains.
    """

    tensorrt: str
    commit: str
    source: str
    opset: int
    operators: frozenset[str]


@cache
def lists() -> tuple[OperatorList, ...]:
    """Return all lists, oldest release first."""
    document = json.loads(FILE.read_text(encoding="utf-8"))
    return tuple(OperatorList(**{**one, "operators": frozenset(one["operators"].split())}) for one in document["lists"])


@cache
def shipped_plugins() -> frozenset[str]:
    """Return the operators that plugins of TensorRT's own library implement, in any release."""
    return frozenset(json.loads(FILE.read_text(encoding="utf-8"))["plugins"]["names"].split())


def release_lists(tensorrt: str | None) -> tuple[OperatorList, ...]:
    """Return the list of the release ``tensorrt``, such as ``10.16.2``, or else the lists before and after it.

    Releases that differ in the third number have the same list. Empty for ``None``, and for a release that is older or
    newer than all listed ones.
    """
    if tensorrt is None:
        return ()
    wanted = _numbers(tensorrt)
    same = [one for one in lists() if _numbers(one.tensorrt) == wanted]
    older = [one for one in lists() if _numbers(one.tensorrt) < wanted]
    newer = [one for one in lists() if _numbers(one.tensorrt) > wanted]
    return tuple(same) if same else (older[-1], newer[0]) if older and newer else ()


def importing(operator: str, tensorrt: str | None) -> Answer:
    """Return whether the parser of the release ``tensorrt`` imports ``operator``: ``yes``, ``no`` or ``unknown``."""
    answers = {_listed(operator, one) for one in release_lists(tensorrt)}
    return answers.pop() if len(answers) == 1 else "unknown"


def importing_anywhere(operator: str) -> bool:
    """Return whether the parser of any listed release imports ``operator``, or may import it."""
    return any(_listed(operator, one) != "no" for one in lists())


def newest_opset(tensorrt: str | None) -> int | None:
    """Return the newest opset of the release ``tensorrt``; ``None`` if it is unknown.

    A release between two lists has the older one's.
    """
    known = release_lists(tensorrt)
    return min(one.opset for one in known) if known else None


def _listed(operator: str, one: OperatorList) -> Answer:
    if operator in one.operators:
        return "yes"
    # The documented lists leave out the operators that NVIDIA's own tools write.
    return "unknown" if operator.startswith("TRT_") and one.source == "docs/operators.md" else "no"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
