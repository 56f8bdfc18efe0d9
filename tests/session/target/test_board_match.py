from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.config.spec import TargetSpec
from hil.errors import LabError, TargetUnreachable
from hil.results import Evidence, ExecutedOn
from hil.session.target.board_match import Board, confirm, is_gpu, runtime_facts, slug
from hil.session.target.holding import _evidence
from tests.jetson.trees import GENERATIONS, ORIN_NX, Tree

if TYPE_CHECKING:
    from pathlib import Path

GPU = TargetSpec(runtime="tensorrt", board="h200")


def facts_of(gpu: str | None = "NVIDIA H200", sm: str | None = "9.0", version: str | None = "8.6.0") -> dict[str, Any]:
    """What a probe reads on a machine with this GPU."""
    return {"runtimes": {"tensorrt": version}, "facts": {"tensorrt": {"gpu": gpu, "sm": sm, "cuda": "12.8"}}}


@pytest.mark.parametrize(
    ("board", "gpu"),
    [
        ("h200", "NVIDIA H200"),
        ("nvidia-h200", "NVIDIA H200"),
        ("NVIDIA H200", "NVIDIA H200"),
        ("geforce-rtx-4090", "NVIDIA GeForce RTX 4090"),
        ("rtx-a6000", "RTX A6000"),
        ("a100-sxm4-80gb", "NVIDIA A100-SXM4-80GB"),
        ("orin", "Orin"),
    ],
)
def test_a_board_is_named_as_its_gpu(board: str, gpu: str) -> None:
    """Small letters and hyphens, with or without the vendor before them."""
    assert is_gpu(board, gpu)


@pytest.mark.parametrize(
    ("board", "gpu"),
    [
        ("h200", "NVIDIA H200 NVL"),
        ("h20", "NVIDIA H200"),
        ("h100", "NVIDIA H200"),
        ("rtx-4090", "NVIDIA GeForce RTX 4090"),
        ("nvidia", "NVIDIA H200"),
        ("*", "NVIDIA H200"),
        ("", ""),
        ("-", "-"),
        ("", "NVIDIA H200"),
        ("h200", ""),
    ],
)
def test_a_part_of_a_name_is_not_the_name(board: str, gpu: str) -> None:
    """Another card of the same family is another board, and an empty name is nobody's."""
    assert not is_gpu(board, gpu)


@given(
    *[st.text(max_size=30) | st.sampled_from(["H200", "nvidia-h200", "NVIDIA H200", "h-200", "NVIDIA", "GH200"])] * 2
)
def test_only_equal_names_match(board: str, gpu: str) -> None:
    """Whatever is written, what matches is equal once case, signs and the vendor are gone, and not empty."""
    names = {slug(name).removeprefix("nvidia-") for name in (board, gpu)}
    assert is_gpu(board, gpu) <= (len(names) == 1 and names != {""})


def test_names_match_whatever_their_case_and_signs() -> None:
    """What is written in a config matches what the driver names, with the vendor or without it."""
    assert is_gpu("h200", "NVIDIA H200")
    assert is_gpu("nvidia-h200", "H200")


def test_the_declared_board_is_confirmed() -> None:
    """Name and SM as the probe read them."""
    assert confirm("gpu", GPU, facts_of()) == Board("h200", "NVIDIA H200", "9.0")


def test_another_board_is_the_labs_fault_and_never_a_fallback() -> None:
    """The wrong machine answered: both are named, with the name that would have been right."""
    with pytest.raises(LabError, match=r"NVIDIA GeForce RTX 4090, not h200.*'gpu'.*'geforce-rtx-4090'") as caught:
        confirm("gpu", GPU, facts_of("NVIDIA GeForce RTX 4090"))
    assert not isinstance(caught.value, TargetUnreachable)


def test_the_gpu_that_is_asked_for_is_the_one_confirmed() -> None:
    """A runtime tells of the first GPU; ``gpu = 1`` is judged by the driver's list, and by nothing else."""
    second = {"number": 1, "name": "NVIDIA L4", "sm": "8.9"}
    facts = {**facts_of(), "gpus": [{"number": 0, "name": "NVIDIA H200", "sm": "9.0"}, second]}
    asked = TargetSpec(runtime="tensorrt", board="l4", gpu=1)
    assert confirm("gpu", asked, facts) == Board("l4", "NVIDIA L4", "8.9")
    with pytest.raises(LabError, match="NVIDIA L4, not h200"):
        confirm("gpu", TargetSpec(runtime="tensorrt", board="h200", gpu=1), facts)
    for listed in ([], [second, second], None, ["NVIDIA L4"]):
        with pytest.raises(TargetUnreachable, match="no GPU with number 1"):
            confirm("gpu", asked, {**facts, "gpus": listed})


@pytest.mark.parametrize("sm", [None, "", 9.0])
def test_a_board_without_sm_is_not_confirmed(sm: Any) -> None:
    """A fact that was not read confirms nothing."""
    with pytest.raises(LabError, match="not confirmed") as caught:
        confirm("gpu", GPU, facts_of(sm=sm))
    assert not isinstance(caught.value, TargetUnreachable)


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({}, "import tensorrt fails"),
        (facts_of(version=None), "import tensorrt fails"),
        (facts_of(gpu=None), "8.6.0 has no GPU"),
        ({**facts_of(), "why_not": {"tensorrt": "libcuda.so.1 is not there"}}, r"libcuda\.so\.1"),
        (
            {"runtimes": {"tensorrt": "8.6.0"}, "facts": {"tensorrt": {"reason": "no NVIDIA driver"}}},
            "no NVIDIA driver",
        ),
        ({"runtimes": {"tensorrt": "8.6.0"}, "facts": None, "why_not": None}, "no GPU"),
    ],
)
@pytest.mark.parametrize("board", ["h200", None])
def test_a_machine_without_tensorrt_or_gpu_is_unreachable(facts: dict[str, Any], why: str, board: str | None) -> None:
    """The reason is told, and a fallback may answer; it does not matter whether a board was declared."""
    with pytest.raises(TargetUnreachable, match=rf"{why}.*on target 'gpu'.*\[targets\.gpu\]"):
        confirm("gpu", TargetSpec(runtime="tensorrt", board=board), facts)


def test_what_was_not_declared_is_not_confirmed() -> None:
    """A GPU by itself is no board, and ONNX Runtime's CPU has none however many GPUs are there."""
    assert confirm("gpu", TargetSpec(runtime="tensorrt"), facts_of()) is None
    assert confirm("cpu", TargetSpec(), facts_of()) is None


@pytest.mark.parametrize(
    ("work", "did"),
    [
        (ExecutedOn(kind="gpu", name="NVIDIA H200", sm="9.0"), True),
        (ExecutedOn(kind="dla", name="NVIDIA H200", sm="9.0"), True),
        (ExecutedOn(kind="cpu", name="NVIDIA H200", sm="9.0"), False),
        (ExecutedOn(kind="gpu", name="NVIDIA H100", sm="9.0"), False),
        (ExecutedOn(kind="gpu", name="NVIDIA H200", sm="9.1"), False),
        (ExecutedOn(kind="gpu", name="NVIDIA H200"), False),
        (None, False),
    ],
)
def test_work_is_the_boards_only_with_its_name_and_sm(work: ExecutedOn | None, *, did: bool) -> None:
    """Kind, name and SM must all be those of the confirmed board."""
    assert Board("h200", "NVIDIA H200", "9.0").did(work) is did


@pytest.mark.parametrize("facts", [{}, {"facts": 1}, {"facts": {"tensorrt": []}}])
def test_facts_that_are_none(facts: dict[str, Any]) -> None:
    """An agent that told nothing has told nothing."""
    assert runtime_facts(facts, "tensorrt") == {}


def jetson(tree: Tree, root: Path, gpu: str | None = "Orin", sm: str | None = "8.7", **other: Any) -> dict[str, Any]:
    """What a probe reads on this board, whose GPU TensorRT sees as ``gpu``."""
    return {**facts_of(gpu, sm, "10.3.0"), "board": tree.facts(root, **other)}


@pytest.mark.parametrize("jetpack", GENERATIONS)
def test_a_jetson_is_confirmed_by_its_module(jetpack: str, tmp_path: Path) -> None:
    """By part number and memory, whatever runtime is used; without a GPU in use it has done no work."""
    tree, name = GENERATIONS[jetpack]
    board = confirm("orin", TargetSpec(board=name), jetson(tree, tmp_path))
    assert board == Board(name, None, None, name)
    assert not board.did(ExecutedOn(kind="gpu", name="Orin", sm="8.7"))


def test_a_jetson_has_its_gpu_too(tmp_path: Path) -> None:
    """Under TensorRT the reported GPU must be the module's, and evidence from it is the board's."""
    asked = TargetSpec(runtime="tensorrt", board="jetson-orin-nx-16gb")
    board = confirm("orin", asked, jetson(ORIN_NX, tmp_path))
    assert board == Board("jetson-orin-nx-16gb", "Orin", "8.7", "orin-nx-16gb")
    assert board.did(ExecutedOn(kind="dla", name="Orin", sm="8.7"))
    assert not board.did(ExecutedOn(kind="cpu", name="Orin", sm="8.7"))
    with pytest.raises(LabError, match=r"RTX A6000 with SM 8\.6, and that of Jetson Orin NX 16GB has SM 8\.7"):
        confirm("orin", asked, jetson(ORIN_NX, tmp_path, "RTX A6000", "8.6"))
    with pytest.raises(LabError, match="no SM"):
        confirm("orin", asked, jetson(ORIN_NX, tmp_path, sm=None))


@pytest.mark.parametrize("runtime", ["onnxruntime", "tensorrt"])
@pytest.mark.parametrize(
    ("declared", "changes", "message"),
    [
        ("orin-nx-8gb", {}, r"is orin-nx-16gb \(part p3767-0000\), not orin-nx-8gb: on target 'orin'.*'orin-nx-16gb'"),
        ("thor-t5000", {}, "is orin-nx-16gb .* not thor-t5000"),
        ("orin-nx-16gb", {"memory_total": 2**33}, "not confirmed, .* but it has 8.0 GiB of memory: on target 'orin'"),
        ("orin-nx-16gb", {"compatible": None}, "not confirmed, .* does not name one Tegra chip"),
        ("orin-nx-16gb", {"compatible": ["nvidia,p3767-0009", "nvidia,tegra234"]}, "not confirmed"),
    ],
)
def test_a_module_that_is_not_confirmed_is_never_a_fallback(
    runtime: Any, declared: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """Another one and one that could not be told are the lab's fault alike, even where TensorRT is missing as well."""
    facts = {**jetson(ORIN_NX, tmp_path, **changes), "runtimes": {}}
    with pytest.raises(LabError, match=message) as caught:
        confirm("orin", TargetSpec(runtime=runtime, board=declared), facts)
    assert not isinstance(caught.value, TargetUnreachable)


@pytest.mark.parametrize("raw", [None, {}, [], "orin-nx-16gb", {"module": "orin-nx-16gb"}, {"model": "orin-nx-16gb"}])
def test_a_machine_that_tells_nothing_is_no_jetson(raw: Any) -> None:
    """Neither an older agent's facts nor a name that is written somewhere make one."""
    with pytest.raises(LabError, match="not confirmed"):
        confirm("orin", TargetSpec(board="orin-nx-16gb"), {**facts_of("Orin", "8.7"), "board": raw})


def test_a_jetsons_gpu_names_no_board(tmp_path: Path) -> None:
    """Several modules have an "Orin": its name alone would let any of them pass for any other."""
    for facts in (jetson(ORIN_NX, tmp_path), facts_of("Orin", "8.7")):
        with pytest.raises(LabError, match="Orin is the GPU of several Jetson modules") as caught:
            confirm("orin", TargetSpec(runtime="tensorrt", board="orin"), facts)
        assert ("orin-nx-16gb" in str(caught.value)) is ("board" in facts)
    with pytest.raises(LabError, match="'orin-nx-16gb'"):
        confirm("orin", TargetSpec(runtime="tensorrt", board="h200"), jetson(ORIN_NX, tmp_path))


def test_a_jetson_without_tensorrt_is_unreachable(tmp_path: Path) -> None:
    """The board is the right one and cannot do the work: a fallback may answer, with the reason."""
    facts = {**jetson(ORIN_NX, tmp_path), "runtimes": {}, "facts": {}}
    facts["facts"] = {"tensorrt": {"reason": "ImportError: libnvdla_compiler.so"}}
    with pytest.raises(TargetUnreachable, match="libnvdla_compiler"):
        confirm("orin", TargetSpec(runtime="tensorrt", board="orin-nx-16gb"), facts)


def test_the_serial_number_is_the_boards_own(tmp_path: Path) -> None:
    """Two boards of one kind are two boards; a declared number that cannot be read is not taken on trust."""
    asked = TargetSpec(serial=ORIN_NX.serial, board="orin-nx-16gb")
    facts = jetson(ORIN_NX, tmp_path)
    assert confirm("orin", asked, facts) is not None
    assert confirm("orin", TargetSpec(serial=ORIN_NX.serial), facts) is None
    for serial in ("", "1424721012344", f"{ORIN_NX.serial}0"):
        with pytest.raises(LabError, match=f"has serial {ORIN_NX.serial}, not {serial}: on target 'orin'"):
            confirm("orin", TargetSpec(serial=serial), facts)


@pytest.mark.parametrize("serial", [ORIN_NX.serial, "", "None"])
def test_a_serial_number_that_cannot_be_read_is_not_confirmed(serial: str, tmp_path: Path) -> None:
    """Nothing read is nothing that could be equal to what was declared."""
    asked = TargetSpec(serial=serial)
    bare = replace(ORIN_NX, serial=None)
    told = [jetson(bare, tmp_path), {"board": None}, {}, jetson(bare, tmp_path, serial=5, not_readable=None)]
    for facts in told:
        with pytest.raises(LabError, match="not confirmed, because it could not be read") as caught:
            confirm("orin", asked, facts)
        assert not isinstance(caught.value, TargetUnreachable)


@pytest.mark.parametrize(
    ("spec", "board", "evidence"),
    [
        (TargetSpec(), None, Evidence.HOST),
        (TargetSpec(kind="ssh", host="board"), None, Evidence.HOST),
        (TargetSpec(board="orin-nx-16gb"), Board("orin-nx-16gb", None, None, "orin-nx-16gb"), Evidence.HOST),
        (TargetSpec(board="orin-nx-16gb"), Board("orin-nx-16gb", "Orin", "8.7", "orin-nx-16gb"), Evidence.DEVICE),
        (TargetSpec(evidence="emulated"), Board("orin-nx-16gb", "Orin", "8.7", "orin-nx-16gb"), Evidence.EMULATED),
        (TargetSpec(evidence="emulated"), None, Evidence.EMULATED),
    ],
)
def test_only_a_confirmed_boards_gpu_makes_device(spec: TargetSpec, board: Board | None, evidence: Evidence) -> None:
    """A machine at the other end of a network is a host, and so is a Jetson whose CPU did the work."""
    assert _evidence(spec, board) is evidence
