"""A model's family follows from the shapes of a trial run; of several families, the more specific one is chosen."""

from __future__ import annotations

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from hil.config.checks.cross_checks import METRICS
from hil.proposals.families import FAMILIES, kinds_of, layout_of, recognized
from hil.proposals.observed import Observed
from hil.proposals.roles import Role

RAW, APART, PYRAMID = "detector without decoding", "detector of separate outputs", "model of several resolutions"
IMAGE = {"images": Role.IMAGE}
SHAPES = st.dictionaries(st.text(max_size=3), st.lists(st.integers(0, 9000), max_size=5).map(tuple), max_size=4)


def observed_as(
    image: tuple[int, ...],
    *outputs: tuple[int, ...],
    ends: str = "",
    maps: str = "",
    labels: int = 0,
    raw: bool = False,
) -> Observed:
    """Return a model with one image input and these outputs, which end in the operator ``ends``."""
    shapes = {str(number): shape for number, shape in enumerate(outputs)}
    return Observed(IMAGE, {"images": image}, shapes, dict.fromkeys(shapes, ends), maps, labels, raw)


@pytest.mark.parametrize(
    ("observed", "family", "layout"),
    [
        (observed_as((1, 3, 640, 640), (1, 84, 8400)), "detector", "channels-first"),
        (observed_as((1, 3, 320, 320), (1, 22, 2100)), "detector", "channels-first"),
        (observed_as((1, 3, 640, 640), (1, 25200, 85)), "detector", "objectness"),
        (observed_as((1, 3, 416, 416), (1, 3549, 85)), "detector", "objectness"),
        (observed_as((1, 3, 416, 416), (1, 3549, 85), raw=True), RAW, ""),
        (observed_as((1, 3, 640, 640), (1, 84, 8400), raw=True), RAW, ""),
        (observed_as((1, 3, 640, 640), (1, 300, 6)), "detector", "end-to-end"),
        (observed_as((1, 3, 640, 640), (1, 1), (1, 100, 4), (1, 100), (1, 100)), "detector", "efficient-nms"),
        (observed_as((1, 3, 300, 300), (1, 3000, 4), (1, 3000, 21)), "detector", "boxes-scores"),
        (observed_as((1, 3, 48, 320), (1, 40, 6625)), "text recognizer", ""),
        (observed_as((1, 1, 32, 100), (25, 1, 37)), "text recognizer", ""),
        (observed_as((1, 3, 224, 224), (1, 1000)), "classifier", ""),
        (observed_as((1, 512, 512, 3), (1, 21, 512, 512), ends="Softmax", maps="0"), "segmentation model", ""),
        (observed_as((1, 3, 512, 512), (1, 21, 512, 512), ends="Conv", labels=21), "segmentation model", ""),
        (observed_as((1, 3, 512, 512), (1, 21, 512, 512), ends="Conv", labels=80), "model of maps", ""),
        (observed_as((1, 3, 512, 512), (1, 2, 512, 512), ends="Conv"), "model of maps", ""),
        (observed_as((1, 3, 512, 512), (1, 17, 128, 128), ends="Sigmoid"), "model of maps", ""),
        (observed_as((1, 3, 512, 512), (1, 1, 512, 512), ends="Sigmoid"), "model of maps", ""),
        (observed_as((1, 3, 512, 512), (1, 512, 512), ends="ArgMax", maps="0"), "segmentation model", ""),
        (observed_as((1, 3, 512, 512), (1, 1, 512, 512), ends="Conv"), "model of a map of values", ""),
        (observed_as((1, 3, 512, 512), (1, 1, 512, 512), ends="Softplus"), "model of a map of values", ""),
        (observed_as((1, 3, 512, 512), (1, 3, 512, 512), ends="Tanh"), "model of a map of values", ""),
        (observed_as((1, 3, 64, 64), (1, 3, 128, 128), ends="DepthToSpace"), "", ""),
        (observed_as((1, 3, 640, 640), (1, 255, 80, 80), (1, 255, 40, 40), ends="Conv"), PYRAMID, ""),
        (observed_as((1, 3, 64, 64), (1, 64, 16, 16), (1, 128, 8, 8), ends="Relu"), PYRAMID, ""),
        (observed_as((1, 3, 320, 320), (1, 1600, 80), (1, 400, 80), (1, 1600, 32), (1, 400, 32)), RAW, ""),
        (observed_as((1, 3, 320, 320), (1, 80, 40, 40), (1, 4, 40, 40), (1, 80, 20, 20), (1, 4, 20, 20)), RAW, ""),
        (observed_as((1, 320, 320, 3), (1, 40, 40, 3), (1, 40, 40, 12), (1, 20, 20, 3), (1, 20, 20, 12)), RAW, ""),
        (observed_as((1, 3, 320, 320), (1, 3, 40, 40, 85), (1, 3, 20, 20, 85)), RAW, ""),
        (observed_as((1, 3, 320, 320), (1, 80, 40, 40), (1, 4, 40, 40), (1, 80, 20, 20), (1, 6)), "", ""),
        (observed_as((1, 3, 640, 640), (1, 300), (1, 300, 4), (1, 300)), APART, ""),
        (observed_as((1, 3, 640, 640), (7, 4), (7,), (7,), (7, 1, 640, 640)), APART, ""),
        (observed_as((1, 3, 640, 640), (1, 4), (1,)), "", ""),
        (observed_as((1, 3, 416, 416), (1, 2535, 85)), "detector", "objectness"),
        (observed_as((1, 3, 1280, 1280), (1, 102000, 85)), "detector", "objectness"),
        (observed_as((1, 3, 256, 256), (1, 1344, 6)), "detector", "objectness"),
        (observed_as((1, 3, 64, 64), (1, 4000, 85)), "", ""),
        (observed_as((1, 3, 224, 224), (1, 6), ends="Tanh"), "", ""),
        (observed_as((1, 3, 224, 224), (1, 6), ends="Gemm"), "classifier", ""),
        (observed_as((1, 3, 112, 112), (1, 512), ends="LpNormalization"), "model that embeds images", ""),
        (observed_as((1, 3, 640, 640), (1, 77, 512)), "", ""),
        (observed_as((1, 3, 640, 640), (1, 1)), "", ""),
    ],
)
def test_a_family_is_recognized(observed: Observed, family: str, layout: str) -> None:
    """Usual networks are recognized with the layout of their boxes; other shapes belong to no family."""
    found = recognized(observed, onnx.GraphProto())
    assert (found.family.name if found else "", found.layout if found else "") == (family, layout)


def test_a_kind_needs_samples_first() -> None:
    """A text whose steps come before the samples has no kind, since each kind would be refused."""
    kinds = []
    for shape in ((25, 1, 37), (1, 25, 37)):
        observed = observed_as((1, 1, 32, 100), shape)
        kinds.append(kinds_of(observed, recognized(observed, onnx.GraphProto())))
    assert kinds == [{}, {"0": "ctc"}]


@given(st.sampled_from(Role), st.lists(st.integers(1, 700), min_size=4, max_size=4).map(tuple), SHAPES)
def test_any_shapes_can_be_judged(role: Role, image: tuple[int, ...], outputs: dict[str, tuple[int, ...]]) -> None:
    """No shapes of a trial run, not even without elements, make the recognition fail; only detectors have a layout."""
    observed = Observed({"images": role}, {"images": image}, outputs)
    found = recognized(observed, onnx.GraphProto())
    if found is None:
        return
    assert bool(found.layout) == (found.family.name == "detector")
    assert not found.layout or found.layout == layout_of(observed)


def test_a_graph_network_is_no_token_model() -> None:
    """A model with the integers of a graph's edges is a graph network, for which no task is proposed."""
    observed = Observed({"atom": Role.TOKENS, "edge_index": Role.TOKENS}, {"atom": (9,), "edge_index": (2, 20)}, {})
    found = recognized(observed, onnx.GraphProto())
    assert found is not None
    assert (found.family.name, found.family.keys) == ("graph network", ())


def test_tasks_and_metrics_exist() -> None:
    """Each task that a family proposes exists, and has the metric."""
    for family in FAMILIES:
        keys = dict(family.keys)
        assert set(keys) <= {"task", "metric"}
        assert "metric" not in keys or keys["metric"] in METRICS[keys["task"]]
        assert "task" not in keys or keys["task"] in METRICS


def test_proposed_exceptions_are_nodes_of_the_graph() -> None:
    """Layers to keep in float are nodes of the graph with a name."""
    nodes = [
        helper.make_node("Conv", ["images", "k"], ["mapped"], name="first"),
        helper.make_node("Conv", ["mapped", "k"], ["more"], name="head"),
        helper.make_node("Sigmoid", ["more"], ["y"], name="after"),
    ]
    graph = helper.make_graph(nodes, "g", [], [helper.make_tensor_value_info("y", 1, None)])
    found = recognized(observed_as((1, 3, 640, 640), (1, 84, 8400)), graph)
    assert found is not None
    assert found.keep_in_float == ("head",)
