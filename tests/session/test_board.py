from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.config.spec import TargetSpec
from hil.errors import LabError, TargetUnreachable
from hil.model import ExecutedOn
from hil.session.board import Board, confirm, is_gpu, runtime_facts, slug

GPU = TargetSpec(runtime="tensorrt", board="h200")


def seen(gpu: str | None = "NVIDIA H200", sm: str | None = "9.0", version: str | None = "8.6.0") -> dict[str, Any]:
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


@given(st.text(max_size=30), st.text(max_size=30))
def test_only_equal_names_match(board: str, gpu: str) -> None:
    """Whatever is written, what matches is equal once case, signs and the vendor are gone, and not empty."""
    if is_gpu(board, gpu):
        assert slug(board).removeprefix("nvidia-") == slug(gpu).removeprefix("nvidia-") != ""


def test_the_declared_board_is_confirmed() -> None:
    """Name and SM as the probe read them."""
    assert confirm("gpu", GPU, seen()) == Board("h200", "NVIDIA H200", "9.0")


def test_another_board_is_the_labs_fault_and_never_a_fallback() -> None:
    """The wrong machine answered: both are named, with the name that would have been right."""
    with pytest.raises(LabError, match=r"NVIDIA GeForce RTX 4090, not h200.*'gpu'.*'geforce-rtx-4090'") as caught:
        confirm("gpu", GPU, seen("NVIDIA GeForce RTX 4090"))
    assert not isinstance(caught.value, TargetUnreachable)


def test_the_gpu_that_is_asked_for_is_the_one_confirmed() -> None:
    """A runtime tells of the first GPU; ``gpu = 1`` is judged by the driver's list, and by nothing else."""
    second = {"number": 1, "name": "NVIDIA L4", "sm": "8.9"}
    facts = {**seen(), "gpus": [{"number": 0, "name": "NVIDIA H200", "sm": "9.0"}, second]}
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
        confirm("gpu", GPU, seen(sm=sm))
    assert not isinstance(caught.value, TargetUnreachable)


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({}, "import tensorrt fails"),
        (seen(version=None), "import tensorrt fails"),
        (seen(gpu=None), "8.6.0 is there, but no GPU"),
        ({**seen(), "why_not": {"tensorrt": "libcuda.so.1 is not there"}}, r"libcuda\.so\.1"),
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
    assert confirm("gpu", TargetSpec(runtime="tensorrt"), seen()) is None
    assert confirm("cpu", TargetSpec(), seen()) is None


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
