"""One record per runtime: what the host knows of it without asking a target.

A runtime is a class in ``hil/agent/runtimes``, which computes on the target, and a record here. What both state is held
together by a test, because the agent imports nothing of the host's library.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from hil.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Mapping

RuntimeName = Literal["onnxruntime", "tensorrt"]
"""The names that ``[targets.NAME] runtime`` may have."""
DEFAULT: RuntimeName = "onnxruntime"
QdqLayout = Literal["onnxruntime", "tensorrt"]
"""Which operators get Q/DQ nodes, and where (``hil.quantize.layout``)."""


@dataclass(frozen=True)
class RuntimeRecord:
    """What differs between runtimes, as far as the host decides by it.

    Attributes:
        name: as in ``hil.toml``, and of the class in the agent.
        label: as people write it.
        module: the Python module that the target's interpreter must have.
        package: what pip installs it from.
        qdq_layout: where Q/DQ nodes must stand so that it computes in INT8.
        precisions: each precision that it has, with how it is reached.
        uses_gpu: it computes on a GPU, which confirms a declared board.
        compiles: it builds a file for one kind of machine; plugins and a DLA core are part of that.
        has_profiles: a dynamic dimension has the sizes of an optimization profile and no other.
        has_streams: several inferences may be in flight.
        chooses_precision: its builder may compute a layer in another precision than was asked for.
        takes_foreign_engines: an engine that was built elsewhere can be judged.
        has_trtexec: ``trtexec`` builds the like of its engines.
        comes_with_jetpack: on a Jetson it is a package of the system.
        int64_since: the first major version whose engines have int64; ``None`` where all have.
        target_keys: keys of a target that this runtime alone carries out.
        model_keys: keys of a model's tables that this runtime alone carries out.
    """

    name: RuntimeName
    label: str
    module: str
    package: str
    qdq_layout: QdqLayout
    precisions: Mapping[str, str]
    uses_gpu: bool = False
    compiles: bool = False
    has_profiles: bool = False
    has_streams: bool = False
    chooses_precision: bool = False
    takes_foreign_engines: bool = False
    has_trtexec: bool = False
    comes_with_jetpack: bool = False
    int64_since: int | None = None
    target_keys: tuple[str, ...] = ()
    model_keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


_ONNXRUNTIME = RuntimeRecord(
    name="onnxruntime",
    label="ONNX Runtime",
    module="onnxruntime",
    package="onnxruntime",
    qdq_layout="onnxruntime",
    precisions={"fp32": "as the model is", "int8": "Q/DQ nodes"},
    target_keys=("threads",),
)
_TENSORRT = RuntimeRecord(
    name="tensorrt",
    label="TensorRT",
    module="tensorrt",
    package="tensorrt",
    qdq_layout="tensorrt",
    precisions={
        "fp32": "as the model is, TF32 switched off",
        "tf32": "a builder flag",
        "fp16": "a builder flag",
        "bf16": "a builder flag, from TensorRT 9 on",
        "int8": "Q/DQ nodes, or TensorRT's own calibrator",
    },
    uses_gpu=True,
    compiles=True,
    has_profiles=True,
    has_streams=True,
    chooses_precision=True,
    takes_foreign_engines=True,
    has_trtexec=True,
    comes_with_jetpack=True,
    int64_since=10,  # NVIDIA's release notes of TensorRT 10.0: "Added support for INT64"
    target_keys=("board", "gpu", "cuda"),
    model_keys={
        "build": ("workspace", "optimization_level", "plugins", "dla"),
        "run": ("cuda_graph", "streams"),
    },
)
RUNTIMES: Mapping[str, RuntimeRecord] = {record.name: record for record in (_ONNXRUNTIME, _TENSORRT)}


def runtime_record(name: str) -> RuntimeRecord:
    """The record of the runtime called ``name``. Raises ``Unsupported`` for one that this version does not drive."""
    if name not in RUNTIMES:
        raise Unsupported(f"runtime {name[:40]!r} is not driven by this version: use one of {', '.join(RUNTIMES)}")
    return RUNTIMES[name]
