"""List the runtimes, each with the facts that the host needs before it contacts a target."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from hil.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Mapping

RuntimeName = Literal["onnxruntime", "tensorrt"]
"""The allowed values of ``runtime`` in ``[targets.NAME]``."""
DEFAULT: RuntimeName = "onnxruntime"
QdqLayout = Literal["onnxruntime", "tensorrt"]
"""The rule by which Q/DQ nodes are placed (``hil.quantize.layout``)."""


@dataclass(frozen=True)
class RuntimeRecord:
    """The properties of a runtime on which decisions of the host depend.

    Attributes:
        name: the name in ``hil.toml`` and of the runtime's class in the agent.
        label: the name in messages and documents.
        module: the Python module that the target's interpreter must be able to import.
        package: the package that pip installs it from.
        qdq_layout: the rule by which Q/DQ nodes must be placed for the runtime to compute in INT8.
        precisions: the supported precisions; each value is how the precision is selected, for the documents.
        uses_gpu: it computes on a GPU, so that the GPU's name can confirm which board the target is.
        compiles: it builds an engine file that runs only on one kind of machine.
        has_profiles: dynamic dimensions are limited to the sizes of an optimization profile.
        has_streams: several inferences can be in flight at once.
        chooses_precision: its builder may compute a layer in a precision that was not requested.
        reports_layers: it reports what each layer of an engine executes.
        takes_foreign_engines: it can load an engine that was built elsewhere.
        has_trtexec: ``trtexec`` builds engines of this runtime.
        comes_with_jetpack: on a Jetson it is a system package of JetPack.
        typed_since: the first major version in which the ONNX file alone decides the types of layers.
        int64_since: the first major version with int64 bindings; ``None`` if every version has them.
        target_keys: keys of ``[targets.NAME]`` that only this runtime supports.
        model_keys: keys of ``[models.NAME.TABLE]`` that only this runtime supports, by TABLE.
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
    reports_layers: bool = False
    takes_foreign_engines: bool = False
    has_trtexec: bool = False
    comes_with_jetpack: bool = False
    int64_since: int | None = None
    typed_since: int | None = None
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
        "fp32": "as the model is, with TF32 disabled",
        "tf32": "a builder flag",
        "fp16": "a builder flag",
        "bf16": "a builder flag, from TensorRT 9 on",
        "int8": "Q/DQ nodes, or TensorRT's own calibrator",
        "fp8": "Q/DQ nodes, from TensorRT 10 on",
        "fp4": "Q/DQ nodes (NVFP4), from TensorRT 10.8 on",
        "int4": "DQ nodes on weights, from TensorRT 10 on",
    },
    uses_gpu=True,
    compiles=True,
    has_profiles=True,
    has_streams=True,
    chooses_precision=True,
    reports_layers=True,
    takes_foreign_engines=True,
    has_trtexec=True,
    comes_with_jetpack=True,
    typed_since=11,  # NVIDIA's guide to migrating from TensorRT 10 to 11
    int64_since=10,  # NVIDIA's release notes of TensorRT 10.0: "Added support for INT64"
    target_keys=("board", "gpu", "cuda"),
    model_keys={
        "build": ("workspace", "optimization_level", "plugins", "dla", "strongly_typed"),
        "run": ("cuda_graph", "streams"),
    },
)
RUNTIMES: Mapping[str, RuntimeRecord] = {record.name: record for record in (_ONNXRUNTIME, _TENSORRT)}


def runtime_record(name: str) -> RuntimeRecord:
    """Return the record of the runtime ``name``. Raises ``Unsupported`` if there is no such runtime."""
    if name not in RUNTIMES:
        raise Unsupported(f"runtime {name[:40]!r} is not supported by this version: use one of {', '.join(RUNTIMES)}")
    return RUNTIMES[name]
