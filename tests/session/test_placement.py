"""Placement in a session: the file that was built, its sizes, the layers of the loaded engine, and the profile."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import onnx
import pytest

from benchmarks.precision.networks import SOUND, Network
from hil.config.spec import ModelSpec, TargetSpec
from hil.errors import Unsupported
from hil.onnx_files.signature import read_signature
from hil.results import Limit, Row, Sense, Verdict
from hil.session.gather import placement

if TYPE_CHECKING:
    from pathlib import Path

    from hil.session.engine_context import EngineContext

DEFAULT = Limit(value=0.1, unit="1", sense=Sense.AT_LEAST, source="default", fail_at=0.0)


def row(precision: str, limit: Limit | None = None) -> Row:
    """Return the row of a check of placement."""
    return Row(id="placement.in_precision", model="m", precision=precision, required=True, test="t", limit=limit)


def context(path: Path, layers: list[Any] | None, *, typed: bool = False, **spec: Any) -> EngineContext:
    """Return a session whose engine was built from ``path`` and has ``layers``."""
    engine = SimpleNamespace(about={"strongly_typed": typed}, facts={})
    worker = SimpleNamespace(
        layers=lambda: layers,
        profile=lambda _feed, _runs: [],
    )

    class Lease:
        """Lends the worker."""

        def __enter__(self) -> Any:
            """Return the worker."""
            return worker

        def __exit__(self, *_: object) -> None:
            """Take it back."""

    model = ModelSpec(path=path.name, data="synthetic", **spec)
    made = SimpleNamespace(source=path, engine=engine)
    session = SimpleNamespace(
        spec=TargetSpec(runtime="tensorrt"),
        used="gpu",
        model=lambda _name: model,
        signature=lambda _name: read_signature(path),
        addressed=lambda file, _name: file,
        config=SimpleNamespace(resolve=path.parent.joinpath),
        memo=SimpleNamespace(once=lambda _key, work: work()),
        engines=SimpleNamespace(provisioned=lambda _name, _precision: made, lease=lambda *_: Lease()),
    )
    return cast("EngineContext", session)


def layers_of(network: Network, dtype: str, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return a layer for each product of the network, in one type; the profile shows the third as the slowest."""
    names = [f"/fc{number}/MatMul" for number in range(network.layers)]
    slow = [{"name": names[2], "op": "", "seconds": 1.0, "share": 1.0}]
    monkeypatch.setattr(placement, "slowest_nodes", lambda _session, _row: slow)
    kinds = {"precision": dtype, "inputs": [dtype], "outputs": [dtype], "device": "gpu", "type": "gemm"}
    return [{"name": name, **kinds} for name in names]


def test_a_weak_fp16_engine_only_warns_and_a_typed_one_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the default limit, a partly fp32 engine in fp16 is warned, but a strongly typed one fails.

    The slowest layer is named.
    """
    network = Network(4, width=16)
    onnx.save(network.model(), tmp_path / "m.onnx")
    layers = layers_of(network, "fp32", monkeypatch)
    weak = placement.in_asked_precision(context(tmp_path / "m.onnx", layers), row("fp16", DEFAULT)).judgement
    assert weak.verdict is Verdict.WARNED
    assert "not /fc2/MatMul (fp32)" in weak.reason
    session = context(tmp_path / "m.onnx", layers, typed=True)
    assert placement.in_asked_precision(session, row("fp16", DEFAULT)).judgement.verdict is Verdict.FAILED


def test_a_file_that_declares_int8_does_not_make_an_int8_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine's layers decide, not the precision that the file declares, whose share is in the details."""
    network = SOUND["int8 matmul"][1]
    onnx.save(network.model(), tmp_path / "m.onnx")
    limit = DEFAULT.model_copy(update={"fail_at": None})
    session = context(tmp_path / "m.onnx", layers_of(network, "fp16", monkeypatch))
    judged = placement.in_asked_precision(session, row("int8", limit)).judgement
    assert judged.verdict is Verdict.FAILED
    assert judged.details["declared"] == {"int8": 1.0}
    sound = context(tmp_path / "m.onnx", layers_of(network, "int8", monkeypatch))
    assert placement.in_asked_precision(sound, row("int8", limit)).judgement.verdict is Verdict.PASSED


def test_a_runtime_that_reports_no_layers_is_refused(tmp_path: Path) -> None:
    """A runtime that reports no layers is refused, whatever the file declares."""
    onnx.save(SOUND["int8 matmul"][1].model(), tmp_path / "m.onnx")
    with pytest.raises(Unsupported, match="does not report an engine's layers"):
        placement.in_asked_precision(context(tmp_path / "m.onnx", None), row("int8", DEFAULT))


def test_the_brought_file_is_held_against_its_claim(tmp_path: Path) -> None:
    """``placement.declared`` judges the deployed file of the row's precision; without such a file it is unsupported."""
    onnx.save(Network(4, width=16).model(), tmp_path / "m.onnx")
    for name in ("int8 matmul", "fp8 matmul"):
        kind, network = SOUND[name]
        onnx.save(network.model(), tmp_path / f"{kind}.onnx")
    files = {"int8": "int8.onnx", "fp8": "int8.onnx", "int4": "int8.onnx"}
    session = context(tmp_path / "m.onnx", None, deployed=files)
    assert placement.declared(session, row("int8")).judgement.verdict is Verdict.PASSED
    assert placement.declared(session, row("fp8")).judgement.verdict is Verdict.FAILED
    with pytest.raises(Unsupported, match="no quantized ONNX file to check"):
        placement.declared(session, row("fp4"))
