"""A stand-in for the package ``onnxruntime`` on the benchmark's boards: it waits as a board would, without computing.

Each board's interpreter imports this file under that name. It knows one model: ``y`` is ``x``. A session takes
``LOAD`` seconds to open, an inference ``RUN`` seconds; both sleep, so that boards do not share processors.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LOAD, RUN = 0.25, 0.003
SHAPE = (1, 4)
__version__ = "1.20.0"


class Port(NamedTuple):
    """An input or output as onnxruntime describes it."""

    name: str
    type: str
    shape: tuple[int, ...]


class SessionOptions:
    """Options without effect."""

    def add_session_config_entry(self, key: str, value: str) -> None:
        """Accept any option."""

    def get_session_config_entry(self, _key: str) -> str:
        """Return the default value of any option."""
        return "0"


class InferenceSession:
    """A session that waits."""

    def __init__(self, _model: object, _options: SessionOptions, providers: Sequence[str] = ()) -> None:
        """Open the only model."""
        self.providers = providers
        time.sleep(LOAD)

    def get_inputs(self) -> list[Port]:
        """Return the only input."""
        return [Port("x", "tensor(float)", SHAPE)]

    def get_outputs(self) -> list[Port]:
        """Return the only output."""
        return [Port("y", "tensor(float)", SHAPE)]

    def run(self, _names: Sequence[str], feed: Mapping[str, Any]) -> list[Any]:
        """Return the input after a while."""
        time.sleep(RUN)
        return [feed["x"]]
