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
    """Return the facts that a probe reads on a machine with this GPU."""
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
def test_a_board_matches_the_name_of_its_gpu(board: str, gpu: str) -> None:
    """Case, spaces and the vendor's name make no difference."""
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
def test_a_part_of_a_name_does_not_match(board: str, gpu: str) -> None:
    """The name of a different card of the same family does not match, and an empty name matches nothing."""
    assert not is_gpu(board, gpu)


@given(
    *[st.text(max_size=30) | st.sampled_from(["H200", "nvidia-h200", "NVIDIA H200", "h-200", "NVIDIA", "GH200"])] * 2
)
def test_only_equal_names_match(board: str, gpu: str) -> None:
    """Two names match only if they are equal without case, punctuation and vendor, and not empty."""
    names = {slug(name).removeprefix("nvidia-") for name in (board, gpu)}
    assert is_gpu(board, gpu) <= (len(names) == 1 and names != {""})


def test_the_vendor_may_be_on_either_side() -> None:
    """The config's name and the driver's match whichever of them includes the vendor."""
    assert is_gpu("h200", "NVIDIA H200")
    assert is_gpu("nvidia-h200", "H200")


def test_the_declared_board_is_confirmed() -> None:
    """The confirmed board has the name and SM that the probe read."""
    assert confirm("gpu", GPU, facts_of()) == Board("h200", "NVIDIA H200", "9.0")


def test_the_wrong_board_is_a_lab_error_without_fallback() -> None:
    """A GPU other than declared is a lab error that names both, and the value that would match."""
    with pytest.raises(LabError, match=r"NVIDIA GeForce RTX 4090, not h200.*'gpu'.*'geforce-rtx-4090'") as caught:
        confirm("gpu", GPU, facts_of("NVIDIA GeForce RTX 4090"))
    assert not isinstance(caught.value, TargetUnreachable)


def test_gpu_n_is_confirmed_by_the_drivers_list() -> None:
    """A runtime reports only the first GPU, so ``gpu = 1`` is confirmed by the driver's list alone."""
    second = {"number": 1, "name": "NVIDIA L4", "sm": "8.9"}
    facts = {**facts_of(), "gpus": [{"number": 0, "name": "NVIDIA H200", "sm": "9.0"}, second]}
    spec = TargetSpec(runtime="tensorrt", board="l4", gpu=1)
    assert confirm("gpu", spec, facts) == Board("l4", "NVIDIA L4", "8.9")
    with pytest.raises(LabError, match="NVIDIA L4, not h200"):
        confirm("gpu", TargetSpec(runtime="tensorrt", board="h200", gpu=1), facts)
    for listed in ([], [second, second], None, ["NVIDIA L4"]):
        with pytest.raises(TargetUnreachable, match="no GPU with number 1"):
            confirm("gpu", spec, {**facts, "gpus": listed})


@pytest.mark.parametrize("sm", [None, "", 9.0])
def test_a_board_without_sm_is_not_confirmed(sm: Any) -> None:
    """Without an SM the board is not confirmed."""
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
    """Without TensorRT or a GPU the target is unreachable, with the reason, whether or not a board is declared."""
    with pytest.raises(TargetUnreachable, match=rf"{why}.*on target 'gpu'.*\[targets\.gpu\]"):
        confirm("gpu", TargetSpec(runtime="tensorrt", board=board), facts)


def test_without_a_declared_board_none_is_confirmed() -> None:
    """Without a declared board, or with work on the CPU, no board is confirmed."""
    assert confirm("gpu", TargetSpec(runtime="tensorrt"), facts_of()) is None
    assert confirm("cpu", TargetSpec(), facts_of()) is None


@pytest.mark.parametrize(
    ("work", "ran"),
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
def test_work_counts_for_the_board_only_with_its_name_and_sm(work: ExecutedOn | None, *, ran: bool) -> None:
    """Work counts for the board only if it ran on a processor with the board's name and SM."""
    assert Board("h200", "NVIDIA H200", "9.0").ran(work) is ran


@pytest.mark.parametrize("facts", [{}, {"facts": 1}, {"facts": {"tensorrt": []}}])
def test_malformed_facts_are_read_as_empty(facts: dict[str, Any]) -> None:
    """Missing or malformed runtime facts are an empty table."""
    assert runtime_facts(facts, "tensorrt") == {}


def jetson(tree: Tree, root: Path, gpu: str | None = "Orin", sm: str | None = "8.7", **other: Any) -> dict[str, Any]:
    """Return the facts that a probe reads on this board, whose GPU TensorRT reports as ``gpu``."""
    return {**facts_of(gpu, sm, "10.3.0"), "board": tree.facts(root, **other)}


@pytest.mark.parametrize("jetpack", GENERATIONS)
def test_a_jetson_is_confirmed_by_its_module(jetpack: str, tmp_path: Path) -> None:
    """Part number and memory confirm the module without TensorRT, but then no work counts as that of its GPU."""
    tree, name = GENERATIONS[jetpack]
    board = confirm("orin", TargetSpec(board=name), jetson(tree, tmp_path))
    assert board == Board(name, None, None, name)
    assert not board.ran(ExecutedOn(kind="gpu", name="Orin", sm="8.7"))


def test_under_tensorrt_the_gpu_must_be_the_modules(tmp_path: Path) -> None:
    """A matching GPU makes the work on it count for the board; another GPU or a missing SM is a lab error."""
    spec = TargetSpec(runtime="tensorrt", board="jetson-orin-nx-16gb")
    board = confirm("orin", spec, jetson(ORIN_NX, tmp_path))
    assert board == Board("jetson-orin-nx-16gb", "Orin", "8.7", "orin-nx-16gb")
    assert board.ran(ExecutedOn(kind="dla", name="Orin", sm="8.7"))
    assert not board.ran(ExecutedOn(kind="cpu", name="Orin", sm="8.7"))
    with pytest.raises(LabError, match=r"RTX A6000 with SM 8\.6, but the GPU of Jetson Orin NX 16GB has SM 8\.7"):
        confirm("orin", spec, jetson(ORIN_NX, tmp_path, "RTX A6000", "8.6"))
    with pytest.raises(LabError, match="no SM"):
        confirm("orin", spec, jetson(ORIN_NX, tmp_path, sm=None))


@pytest.mark.parametrize("runtime", ["onnxruntime", "tensorrt"])
@pytest.mark.parametrize(
    ("declared", "changes", "message"),
    [
        ("orin-nx-8gb", {}, r"is orin-nx-16gb \(part p3767-0000\), not orin-nx-8gb: on target 'orin'.*'orin-nx-16gb'"),
        ("thor-t5000", {}, "is orin-nx-16gb .* not thor-t5000"),
        (
            "orin-nx-16gb",
            {"memory_total": 2**33},
            "not confirmed, .* but the machine has 8.0 GiB of memory: on target 'orin'",
        ),
        ("orin-nx-16gb", {"compatible": None}, "not confirmed, .* does not name one Tegra chip"),
        ("orin-nx-16gb", {"compatible": ["nvidia,p3767-0009", "nvidia,tegra234"]}, "not confirmed"),
    ],
)
def test_an_unconfirmed_module_never_falls_back(
    runtime: Any, declared: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """A module other than the declared one, or an unidentified one, is a lab error, even if TensorRT is missing too."""
    facts = {**jetson(ORIN_NX, tmp_path, **changes), "runtimes": {}}
    with pytest.raises(LabError, match=message) as caught:
        confirm("orin", TargetSpec(runtime=runtime, board=declared), facts)
    assert not isinstance(caught.value, TargetUnreachable)


@pytest.mark.parametrize("raw", [None, {}, [], "orin-nx-16gb", {"module": "orin-nx-16gb"}, {"model": "orin-nx-16gb"}])
def test_a_machine_without_board_facts_is_not_a_jetson(raw: Any) -> None:
    """Facts of an older agent, or a module's name alone, do not confirm a Jetson."""
    with pytest.raises(LabError, match="not confirmed"):
        confirm("orin", TargetSpec(board="orin-nx-16gb"), {**facts_of("Orin", "8.7"), "board": raw})


def test_a_jetsons_gpu_name_does_not_identify_the_module(tmp_path: Path) -> None:
    """Several modules have the GPU "Orin", so ``board = "orin"`` is refused."""
    for facts in (jetson(ORIN_NX, tmp_path), facts_of("Orin", "8.7")):
        with pytest.raises(LabError, match="Orin is the GPU of several Jetson modules") as caught:
            confirm("orin", TargetSpec(runtime="tensorrt", board="orin"), facts)
        assert ("orin-nx-16gb" in str(caught.value)) is ("board" in facts)
    with pytest.raises(LabError, match="'orin-nx-16gb'"):
        confirm("orin", TargetSpec(runtime="tensorrt", board="h200"), jetson(ORIN_NX, tmp_path))


def test_a_jetson_without_tensorrt_is_unreachable(tmp_path: Path) -> None:
    """The right board without TensorRT allows a fallback, and the error has the reason."""
    facts = {**jetson(ORIN_NX, tmp_path), "runtimes": {}, "facts": {}}
    facts["facts"] = {"tensorrt": {"reason": "ImportError: libnvdla_compiler.so"}}
    with pytest.raises(TargetUnreachable, match="libnvdla_compiler"):
        confirm("orin", TargetSpec(runtime="tensorrt", board="orin-nx-16gb"), facts)


def test_a_declared_serial_number_must_match(tmp_path: Path) -> None:
    """A board of the same kind with another serial number is refused."""
    spec = TargetSpec(serial=ORIN_NX.serial, board="orin-nx-16gb")
    facts = jetson(ORIN_NX, tmp_path)
    assert confirm("orin", spec, facts) is not None
    assert confirm("orin", TargetSpec(serial=ORIN_NX.serial), facts) is None
    for serial in ("", "1424721012344", f"{ORIN_NX.serial}0"):
        with pytest.raises(LabError, match=f"has serial {ORIN_NX.serial}, not {serial}: on target 'orin'"):
            confirm("orin", TargetSpec(serial=serial), facts)


@pytest.mark.parametrize("serial", [ORIN_NX.serial, "", "None"])
def test_an_unreadable_serial_number_is_not_confirmed(serial: str, tmp_path: Path) -> None:
    """A serial number that was not read equals no declared one, not even an empty one."""
    spec = TargetSpec(serial=serial)
    without_serial = replace(ORIN_NX, serial=None)
    unread = jetson(without_serial, tmp_path), jetson(without_serial, tmp_path, serial=5, not_readable=None)
    for facts in (*unread, {"board": None}, {}):
        with pytest.raises(LabError, match="not confirmed, because it could not be read") as caught:
            confirm("orin", spec, facts)
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
def test_only_the_gpu_of_a_confirmed_board_is_a_device(
    spec: TargetSpec, board: Board | None, evidence: Evidence
) -> None:
    """A machine reached over SSH and a Jetson whose CPU ran the work have evidence host."""
    assert _evidence(spec, board) is evidence
