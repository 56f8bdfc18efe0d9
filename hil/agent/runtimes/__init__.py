"""The runtimes that this agent supports. To add one, write a class (``interface.Runtime``) and add it to ``TABLE``."""

import importlib
from typing import Any

from ..failure import UNSUPPORTED, Failure

TABLE = {"onnxruntime": ("onnxruntime", "OnnxRuntime"), "tensorrt": ("tensorrt", "TensorRt")}


def runtime(name: str) -> Any:
    """Return the ``Runtime`` called ``name``; this does not import the runtime itself. Raise ``Failure`` if unknown."""
    if name not in TABLE:
        known = ", ".join(sorted(TABLE))
        raise Failure(UNSUPPORTED, "runtime %r is not supported by this version" % name, "use one of " + known)
    module, attribute = TABLE[name]
    return getattr(importlib.import_module("." + module, __name__), attribute)()
