"""The runtimes that this agent supports; adding one is a class (``interface.Runtime``) and a line here."""

import importlib
from typing import Any

from ..failure import UNSUPPORTED, Failure

TABLE = {"onnxruntime": ("onnxruntime", "OnnxRuntime"), "tensorrt": ("tensorrt", "TensorRt")}


def runtime(name: str) -> Any:
    """Return the ``Runtime`` called ``name``, without importing its module yet. Raise ``Failure`` if it is unknown."""
    if name not in TABLE:
        known = ", ".join(sorted(TABLE))
        raise Failure(UNSUPPORTED, "runtime %r is not supported by this version" % name, "use one of " + known)
    module, attribute = TABLE[name]
    return getattr(importlib.import_module("." + module, __name__), attribute)()
