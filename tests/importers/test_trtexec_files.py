"""Files that trtexec exports: what is read of them, and only ``UserError`` for other content."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.cli.trtexec import command
from hil.errors import UserError
from hil.importers.trtexec_files import LayerInfo, Profile, Times, read

if TYPE_CHECKING:
    from pathlib import Path

LAYER = {"Name": "conv1", "LayerType": "CaskConvolution", "Weights": {"Type": "Half", "Count": 9}}
PROFILE = [{"count": 4}, {"name": "conv1", "timeMs": 8.0, "averageMs": 2.0}, {"name": "relu", "averageMs": 6}]


def times(count: int) -> list[dict[str, float]]:
    """Return ``count`` inferences of 1 to 2 ms, in an order without correlation."""
    return [
        {"startComputeMs": 3.0 * row, "computeMs": 1 + row * 7 % count / count, "latencyMs": 3.0}
        for row in range(count)
    ]


def written(folder: Path, content: Any) -> Path:
    """Return the path of a file with ``content`` as JSON, or with these bytes."""
    path = folder / "export.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def test_times_are_seconds_with_bounds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Milliseconds become seconds, and each percentile has bounds; with too few inferences the upper one is unknown."""
    content = read(written(tmp_path, times(1009)))
    assert isinstance(content, Times)
    assert content.seconds["Latency"][0] == pytest.approx(0.003)
    command(tmp_path / "export.json")
    shown = capsys.readouterr().out
    assert "GPU Compute Time of 1009 inferences\n  p50 1.5 ms (1." in shown
    assert "not a verdict" in shown
    command(written(tmp_path, times(20)))
    assert "to unknown)" in capsys.readouterr().out


def test_profiles_name_the_slowest_layer_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A layer's mean time is shown with its share, the slowest first."""
    content = read(written(tmp_path, PROFILE))
    assert isinstance(content, Profile)
    assert content.count == 4
    assert dict(content.layers) == pytest.approx({"conv1": 0.002, "relu": 0.006})
    command(tmp_path / "export.json")
    assert capsys.readouterr().out.splitlines()[1:3] == ["  6 ms  75 %  relu", "  2 ms  25 %  conv1"]


def test_layers_are_counted_by_the_type_they_compute_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Layers are counted by the type they compute in; a layer without details is unknown."""
    assert isinstance(read(written(tmp_path, {"Layers": [LAYER, "relu"], "Bindings": []})), LayerInfo)
    assert isinstance(read(written(tmp_path, rb'{"Layers": ["a\b", {"Name": "c\d"}]}')), LayerInfo)
    read(written(tmp_path, {"Layers": [LAYER, "relu"]}))
    command(tmp_path / "export.json")
    assert capsys.readouterr().out.splitlines()[1:3] == ["  1  fp16", "  1  unknown, or only moves data"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[NaN]",
        b"[" * 100_000,
        [],
        [3],
        {"Layers": []},
        {"Layers": 5},
        {"Layers": "abc"},
        {"Bindings": ["x"]},
        b'{"Layers": ["a"',
        b'[{"computeMs": 1%s, "latencyMs": 1}]' % (b"0" * 400),
        [{"count": 0}, {"name": "a", "averageMs": 1}],
        [{"count": 5}],
        [{"count": True}, {"name": "a", "averageMs": 1}],
        [{"computeMs": 1.0, "latencyMs": -1.0}],
        [{"computeMs": 1.0, "latencyMs": True}],
        [*times(30), {"computeMs": 1.0}],
    ],
)
def test_other_content_is_refused(content: Any, tmp_path: Path) -> None:
    """An empty, damaged or foreign file is refused, and so is a file with a row without times."""
    with pytest.raises(UserError, match="not a file that trtexec exported"):
        read(written(tmp_path, content))


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    """A path without a file raises ``UserError``."""
    with pytest.raises(UserError, match="cannot be read"):
        read(tmp_path / "absent.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda one: (
        st.lists(one)
        | st.dictionaries(st.sampled_from(["Layers", "count", "computeMs", "latencyMs", "averageMs", "name"]), one)
    ),
    max_leaves=8,
)


@given(JSON)
def test_any_json_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: Any) -> None:
    """Any JSON is read, or refused with ``UserError``."""
    with contextlib.suppress(UserError):
        read(written(tmp_path_factory.getbasetemp(), content))
