"""The file that an engine is built from: ``deployed``, converted for strong typing, or refused with the reason."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import onnx
import pytest

from benchmarks.precision.networks import SOUND, Network
from hil.config.spec import BuildSpec, ModelSpec, TargetSpec
from hil.errors import Unsupported
from hil.onnx_files.quantized_graph import read_precisions
from hil.onnx_files.signature import read_signature
from hil.session.engines.engine_source import source_of

if TYPE_CHECKING:
    from pathlib import Path

    from hil.session.context import Context


def source(
    folder: Path, precision: str, *, version: str = "10.3.0", sm: str = "9.0", typed: bool = False, **spec: Any
) -> tuple[Path, dict[str, Any] | None]:
    """Return what ``source_of`` chooses for a float model on a GPU with this TensorRT."""
    path = folder / "m.onnx"
    if not path.exists():
        onnx.save(Network(4, width=16).model(), path)
    model = ModelSpec(path="m.onnx", data="synthetic", build=BuildSpec(strongly_typed=typed), **spec)

    class Progress:
        """Takes progress messages and shows none."""

        def __call__(self, _text: str) -> None:
            """Show nothing."""

        def step(self, _text: str, **_: Any) -> Any:
            """Return a step that is not shown."""
            return nullcontext()

    context = SimpleNamespace(
        spec=TargetSpec(runtime="tensorrt"),
        used="gpu",
        facts={"runtimes": {"tensorrt": version}, "facts": {"tensorrt": {"gpu": "x", "sm": sm}}},
        config=SimpleNamespace(resolve=folder.joinpath, spec=SimpleNamespace(project=SimpleNamespace(cache="cache"))),
        progress=Progress(),
        memo=SimpleNamespace(once=lambda _key, work: work()),
        addressed=lambda file, _name: file,
        onnx=lambda _name: path,
        signature=lambda _name: read_signature(path),
    )
    return source_of(cast("Context", context), "m", precision, model)


@pytest.mark.parametrize(
    ("version", "typed", "converted"), [("10.3.0", False, False), ("10.3.0", True, True), ("11.4.1", False, True)]
)
def test_fp16_is_converted_for_strongly_typed_networks_only(
    tmp_path: Path,
    version: str,
    typed: bool,
    converted: bool,
) -> None:
    """fp16 is converted by choice on TensorRT 10 and always on 11; otherwise the builder's flag is used."""
    path, record = source(tmp_path, "fp16", version=version, typed=typed)
    assert (record is not None) is converted
    assert (read_precisions(path).shares() == {"fp16": 1.0}) is converted


def test_a_file_that_has_the_type_already_is_taken_as_it_is(tmp_path: Path) -> None:
    """A ``deployed`` file that has the type already is not converted."""
    onnx.save(SOUND["bf16"][1].model(), tmp_path / "b.onnx")
    path, record = source(tmp_path, "bf16", version="11.1.0", deployed="b.onnx")
    assert (path.name, record) == ("b.onnx", None)


@pytest.mark.parametrize("precision", ["int8", "fp8", "fp4", "int4"])
def test_a_brought_file_must_have_the_type_that_is_claimed(tmp_path: Path, precision: str) -> None:
    """Each quantized precision uses the ``deployed`` file of its type, and refuses a file of another type or floats."""
    for name in ("int8 matmul", "fp8 matmul", "fp4 fp16", "int4 64", "fp16"):
        kind, network = SOUND[name]
        onnx.save(network.model(), tmp_path / f"{kind}.onnx")
    files = {kind: f"{kind}.onnx" for kind in ("int8", "fp8", "fp4", "int4")}
    assert source(tmp_path, precision, sm="11.0", version="10.13.3", deployed=files)[0].name == f"{precision}.onnx"
    for other in {*files, "fp16"} - {precision}:
        with pytest.raises(Unsupported, match=precision):
            source(tmp_path, precision, sm="11.0", version="10.13.3", deployed=f"{other}.onnx")


def test_without_a_file_the_command_is_given(tmp_path: Path) -> None:
    """Without a file in FP8, the reason has ModelOpt's command."""
    with pytest.raises(Unsupported, match=r"modelopt\.onnx\.quantization --onnx_path=m\.onnx --quantize_mode=fp8"):
        source(tmp_path, "fp8")


def test_what_the_target_lacks_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    """A precision that the GPU or TensorRT's release lacks is refused before any build, with what is needed."""
    with pytest.raises(Unsupported, match=r"fp8 needs a GPU of compute capability 8\.9.* has 8\.7.*leave fp8 out"):
        source(tmp_path, "fp8", sm="8.7")
    with pytest.raises(Unsupported, match=r"bf16 needs TensorRT 10\.0 or newer; this is 8\.6\.2"):
        source(tmp_path, "bf16", version="8.6.2")
