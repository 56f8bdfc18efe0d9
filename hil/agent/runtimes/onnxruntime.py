"""ONNX Runtime's CPU provider: the engine is the ONNX file itself; for int8 it contains Q/DQ nodes."""

import json
import mmap
import os
import platform
import re
import shutil
import tempfile
from functools import partial
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from ..failure import BUILD, ENGINE, UNSUPPORTED, Failure, short
from . import ort_values
from .interface import Bound, Built, Engine, Feed, NodeCost, Port, Runtime
from .recurrence import Recurrence

PROVIDERS = ["CPUExecutionProvider"]
DTYPES = {
    "tensor(bool)": "bool",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(int16)": "int16",
    "tensor(uint16)": "uint16",
    "tensor(int32)": "int32",
    "tensor(uint32)": "uint32",
    "tensor(int64)": "int64",
    "tensor(uint64)": "uint64",
    "tensor(float16)": "float16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
}
DTYPES.update({theirs: ours for theirs, (ours, _) in ort_values.TYPES.items()})
# NodeProto.op_type is field 4 (tag 0x22), a length-delimited string. Searching the file for the encoded field
# needs no onnx package on the target; DynamicQuantizeLinear has another length, so it does not match.
QUANTIZE, DEQUANTIZE = b"\x22\x0eQuantizeLinear", b"\x22\x10DequantizeLinear"
MAX_PROFILE = 256 << 20
EXACT_PRODUCTS = "session.x64quantprecision"
"""Without this option, sums of uint8 x int8 products saturate at 16 bits on x86 processors that lack VNNI.

It has no effect on other processors. Source: ONNX Runtime, onnxruntime_session_options_config_keys.h.
"""
NOT_EXACT = "Attempt to replace the existing tensor"
"""ONNX Runtime's error for nodes that share a quantized constant: 1.32 does not support the option for them."""

CUSTOM = re.compile(r"(?P<domain>[\w.-]+):(?P<operator>\w+)\(-?\d+\) is not a registered function/op")
CUSTOM_ADVICE = "run the model on TensorRT with a plugin (build.plugins), and give the framework's outputs as reference"
LACKING_ADVICE = "upgrade onnxruntime on this target, or export the model without this operator"
LACKING_KERNEL = "upgrade onnxruntime on this target, or export the model with types and attributes that it implements"
OLDER_OPSET = "upgrade onnxruntime on this target, or export the model with an older opset"
CHECK = "check the file with onnx.checker.check_model"
WHOLE_FILE = "copy the file again, whole; if it is a pointer of Git LFS, run git lfs pull"
CAUSES = (
    ("Unsupported model IR version", "upgrade onnxruntime on this target, or save the file with an older ir_version"),
    ("is till opset", OLDER_OPSET),
    ("under development", OLDER_OPSET),
    ("External data path", "put the file with the weights next to the ONNX file, under its original name"),
    ("Protobuf parsing failed", WHOLE_FILE),
    ("No graph was found", WHOLE_FILE),
    ("No Op registered", "import an opset that has the operator, upgrade onnxruntime, or export the model without it"),
    ("Unrecognized attribute", "import an opset whose operator has this attribute, or remove the attribute"),
    (
        "ShapeInferenceError",
        "correct the shapes that the file declares: onnx.checker.check_model(path, full_check=True)",
    ),
    (
        "indices element out of data bounds",
        "an index selects an entry that does not exist: keep the data and the input's range within the named bounds",
    ),
    ("re-use buffer", "correct the shapes that the file declares: dimensions of equal name must have equal sizes"),
    ("of output arg", "correct the type that the file declares for that output, or insert a Cast after that node"),
    ("Type Error", "insert a Cast before that node, so that it gets types that the operator takes"),
    ("NOT_IMPLEMENTED", LACKING_KERNEL),
    ("Could not find an implementation", LACKING_KERNEL),
    ("Exception during initialization", LACKING_KERNEL),
)
"""Words of ONNX Runtime's message, each with the advice against their cause; the first match applies."""


LEAST_NUMPY = (1, 16)
"""The oldest numpy that the metadata of onnxruntime 1.10.0, the last for Python 3.6, allows.

With JetPack 4's own numpy 1.13, onnxruntime can be imported, but crashes when it returns the first array.
"""


def _import() -> Any:
    import numpy as np
    import onnxruntime

    if tuple(int(part) for part in np.__version__.split(".")[:2]) < LEAST_NUMPY:
        raise ImportError("numpy %s is too old for onnxruntime, which needs %d.%d" % (np.__version__, *LEAST_NUMPY))
    return onnxruntime


def open_session(model: Any, settings: Any) -> Any:
    """Return a session on the CPU for a model's path or bytes, with exact 8-bit products if possible.

    ``settings`` (``SessionOptions``) is changed. Raise ONNX Runtime's own exception if the model cannot be loaded.
    """
    ort = _import()
    settings.add_session_config_entry(EXACT_PRODUCTS, "1")
    logged, settings.log_severity_level = settings.log_severity_level, 4  # a refusal that is handled is not logged
    try:
        return ort.InferenceSession(model, settings, providers=PROVIDERS)
    except Exception as error:
        if NOT_EXACT not in str(error):
            raise
    ort.set_default_logger_severity(3)  # otherwise it warns that the entry is replaced
    settings.add_session_config_entry(EXACT_PRODUCTS, "0")
    ort.set_default_logger_severity(2)
    settings.log_severity_level = logged
    return ort.InferenceSession(model, settings, providers=PROVIDERS)


class OnnxRuntime(Runtime):
    """Builds and loads engines by creating an inference session."""

    name = "onnxruntime"
    module = "onnxruntime"
    precisions = ("fp32", "int8")

    def version(self) -> Optional[str]:
        try:
            return str(_import().__version__)
        except ImportError:
            return None

    def reason_against(self, precision: str) -> Optional[str]:
        if precision in self.precisions:
            return None
        return "ONNX Runtime's CPU provider computes fp32, and int8 through Q/DQ nodes; it has no %s" % precision

    def build(self, model: str, precision: str, options: Mapping[str, Any], out: str) -> Built:  # noqa: ARG002 - nothing is compiled
        reason = self.reason_against(precision)
        if reason is not None:
            raise Failure(UNSUPPORTED, reason, "leave %s out of precisions for this target" % precision)
        if precision == "int8" and not _has_qdq(model):
            what = "the model has no QuantizeLinear and DequantizeLinear nodes, so it would not run in int8"
            raise Failure(BUILD, what, 'quantize it first (route = "explicit") and build the quantized file')
        self.load(model, options).close()
        return Built(model, "")

    def load(self, path: str, options: Mapping[str, Any]) -> "Session":
        return Session(path, options)


def advice(error: str) -> str:
    """Return advice on ONNX Runtime's message ``error``; empty if its cause is not known."""
    return next((helps for words, helps in CAUSES if words in error), "")


def _load_failure(error: str) -> Failure:
    """Return the failure for a model that cannot be loaded, with advice that fits the cause."""
    custom = CUSTOM.search(error)
    if custom is not None:
        what = "ONNX Runtime has no operator %s of domain %s" % (custom.group("operator"), custom.group("domain"))
        is_custom = not custom.group("domain").startswith(("ai.onnx", "com.microsoft"))
        return Failure(BUILD, what, CUSTOM_ADVICE if is_custom else LACKING_ADVICE)
    return Failure(BUILD, "ONNX Runtime cannot load the model: %s" % error, advice(error) or CHECK)


def _lacks_vnni() -> bool:
    try:
        with open("/proc/cpuinfo") as file:
            flags = next((line for line in file if line.startswith("flags")), "")  # only x86 has this line
    except OSError:
        return platform.machine() in ("x86_64", "AMD64")
    return bool(flags) and "vnni" not in flags


def _has_qdq(path: str) -> bool:
    if os.path.getsize(path) == 0:
        return False
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(QUANTIZE) >= 0 and data.find(DEQUANTIZE) >= 0


class Session(Engine):
    """An inference session on the CPU; ``options["threads"]`` is its number of intra-op threads."""

    def __init__(self, path: str, options: Mapping[str, Any]) -> None:
        self._path = path
        self._threads = options.get("threads")
        self._saturating = False
        self._session = self._open(path)
        self.inputs = _ports(self._session.get_inputs())
        self.outputs = _ports(self._session.get_outputs())
        self._names = [port.name for port in self.outputs]
        self._run = _run_values if ort_values.needs_values(self._session) else _run

    def _open(self, path: str, profile: Optional[str] = None) -> Any:
        ort = _import()
        settings = ort.SessionOptions()
        settings.log_severity_level = 3
        if self._threads is not None:
            settings.intra_op_num_threads = int(self._threads)
        if profile is not None:
            settings.enable_profiling = True
            settings.profile_file_prefix = profile
        try:
            session = open_session(path, settings)
        except Exception as error:  # noqa: BLE001 - its exceptions share no other base class
            raise _load_failure(short(error)) from None
        self._saturating = settings.get_session_config_entry(EXACT_PRODUCTS) == "0" and _lacks_vnni()
        return session

    def facts(self) -> Dict[str, Any]:
        """Return ``saturating_sums`` if the sums of 8-bit products may saturate on this processor."""
        return {"saturating_sums": True} if self._saturating else {}

    def method(self) -> Dict[str, Any]:
        threads = self._threads or 0
        return {"threads": threads, "transfers": "none", "spin_wait": threads != 1}

    def bind(self, feed: Feed, slot: int = 0) -> Bound:  # noqa: ARG002 - it has one slot
        return Bound(partial(self._run, self._session, self._names, self._fed(feed)))

    def recurrence(self, carry: Mapping[str, str], begin: Feed) -> Recurrence:
        if self._run is _run_values or not all(array.size for array in begin.values()):
            return super().recurrence(carry, begin)  # the binding has no type that numpy lacks, and no empty memory
        from .ort_recurrence import BoundRecurrence

        return BoundRecurrence(self, self._session, _refused, carry, begin)

    def profile(self, feed: Feed, runs: int) -> List[NodeCost]:
        folder = tempfile.mkdtemp(prefix="hil-profile-")
        try:
            session = self._open(self._path, os.path.join(folder, "ort"))
            fed = self._fed(feed)
            for _ in range(runs + 1):
                self._run(session, self._names, fed)
            return _node_costs(session.end_profiling(), runs)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _fed(self, feed: Feed) -> Any:
        return ort_values.values_of(feed) if self._run is _run_values else dict(feed)

    def close(self) -> None:
        self._session = None


def _run_values(session: Any, names: List[str], fed: Any) -> Any:
    return _refused(partial(ort_values.run, session, names, fed))


def _run(session: Any, names: List[str], feed: Dict[str, Any]) -> Any:
    return _refused(partial(session.run, names, feed))


def _refused(run: Callable[[], Any]) -> Any:
    """Return what ``run`` returns. Raise ``Failure`` if ONNX Runtime refuses the inputs."""
    try:
        return run()
    except Exception as error:  # noqa: BLE001 - its exceptions share no other base class
        helps = advice(str(error)) or "check shapes and values of the inputs"
        raise Failure(ENGINE, "ONNX Runtime refused the run: %s" % short(error), helps) from None


def _ports(args: Any) -> Tuple[Port, ...]:
    ports = []
    for arg in args:
        if arg.type not in DTYPES:
            what = "%r has type %s, which cannot be sent to the target" % (arg.name, arg.type)
            raise Failure(UNSUPPORTED, what, "use a model with numeric tensors")
        shape = tuple(
            dim if isinstance(dim, int) and dim >= 0 else str(dim) if dim else None for dim in arg.shape or ()
        )
        ports.append(Port(arg.name, DTYPES[arg.type], shape))
    return tuple(ports)


def _node_costs(path: str, runs: int) -> List[NodeCost]:
    """Return the mean seconds per run of each node, slowest first, from the trace file at ``path``.

    The first run does not count. Raise ``Failure`` if the file is too large.
    """
    if os.path.getsize(path) > MAX_PROFILE:
        raise Failure(ENGINE, "the profile has over %d bytes" % MAX_PROFILE, "profile fewer runs")
    with open(path) as file:
        events = [event for event in json.load(file) if event.get("ph") == "X"]
    ends = [event["ts"] + event["dur"] for event in events if event.get("name") == "model_run"]
    warm_from = min(ends) if ends else 0
    suffix = "_kernel_time"
    seconds: Dict[Tuple[str, str], float] = {}
    for event in events:
        name = event["name"]
        if event.get("cat") == "Node" and name.endswith(suffix) and event["ts"] >= warm_from:
            key = (name[: -len(suffix)], str(event.get("args", {}).get("op_name", "")))
            seconds[key] = seconds.get(key, 0.0) + event["dur"] * 1e-6
    costs = [NodeCost(name, op, total / runs) for (name, op), total in seconds.items()]
    return sorted(costs, key=lambda cost: -cost.seconds)
