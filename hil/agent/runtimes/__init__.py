"""The runtimes this agent can drive; adding one is a class (``base.Runtime``) and a line here."""

import importlib
from typing import Any

from ..failure import UNSUPPORTED, Failure

TABLE = {"onnxruntime": ("onnxruntime", "OnnxRuntime"), "tensorrt": ("tensorrt", "TensorRt")}


def runtime(name: str) -> Any:
    """The ``Runtime`` called ``name``; nothing heavy is imported yet. Raises ``Failure`` for an unknown one."""
    if name not in TABLE:
        known = ", ".join(sorted(TABLE))
        raise Failure(UNSUPPORTED, "runtime %r is not driven by this version" % name, "set runtime to one of " + known)
    module, attribute = TABLE[name]
    return getattr(importlib.import_module("." + module, __name__), attribute)()
