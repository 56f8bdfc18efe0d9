"""Metadata and name of a file suggest sizes of images, which are tried first."""

from __future__ import annotations

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.onnx_files.signature import Signature
from hil.proposals.size_hints import SIDES, hinted_sizes
from hil.proposals.sizes import SQUARES, assignments, groups
from tests.datasets.project import spec


def with_metadata(**values: str) -> onnx.ModelProto:
    """Return a model with only this metadata."""
    model = onnx.ModelProto()
    onnx.helper.set_model_props(model, values)
    return model


@pytest.mark.parametrize(
    ("name", "metadata", "kind", "sizes"),
    [
        ("320n", {}, "detector", [(320, 320)]),
        ("best", {"imgsz": "[480, 640]", "stride": "32"}, "detector", [(480, 640)]),
        ("yolo-640", {"imgsz": "320"}, "detector", [(320, 320), (640, 640)]),
        ("lane_288x800", {}, "dense", [(288, 800)]),
        ("mobilenet_v2_1.0_224", {}, "classifier", [(224, 224)]),
        ("resnet50", {}, "classifier", []),
        ("vgg16-v1.320", {}, "classifier", []),
        ("best", {"imgsz": "[1, 3, 320, 320]"}, "detector", []),
        ("best", {"imgsz": "99999999999999999999999"}, "detector", []),
        ("pocr_det", {}, "detector", []),
    ],
)
def test_the_sizes_that_a_file_names(
    name: str, metadata: dict[str, str], kind: str, sizes: list[tuple[int, int]]
) -> None:
    """The metadata comes first, then a size in the name; numbers of versions and layers are not sizes."""
    assert list(hinted_sizes(with_metadata(**metadata), name, kind)) == sizes


def test_a_classifier_of_text_looks_at_lines() -> None:
    """A classifier whose name is that of a text recognizer is tried with the size of a line of text first."""
    assert hinted_sizes(with_metadata(), "ch_ppocr_mobile_v2.0_cls", "classifier")[0] == (48, 192)


@pytest.mark.parametrize(
    ("shape", "first"),
    [
        (("batch", 3, "h", "w"), {"h": 288, "w": 800}),
        (("batch", 3, 288, "w"), {"w": 800}),
        (("batch", 3, "h", 800), {"h": 288}),
        (("batch", 3, 320, "w"), {"w": 320}),
        (("batch", 3, "side", "side"), {"side": 640}),
    ],
)
def test_a_hint_that_fits_the_input_is_tried_first(shape: tuple[int | str, ...], first: dict[str, int]) -> None:
    """A hint is used where it fits the sizes that the file fixes; otherwise the usual sizes are tried."""
    signature = Signature((spec("x", "float32", *shape),), (spec("y", "float32", "batch", 84, "cells"),))
    tried = list(assignments(groups(signature, [(288, 800)])))
    assert tried[0] == first
    assert len({tuple(one.items()) for one in tried}) == len(tried)


@given(
    st.text(), st.dictionaries(st.sampled_from(["imgsz", "input_size", "x"]), st.text()), st.sampled_from([*SQUARES])
)
def test_any_text_gives_sizes_of_images(name: str, metadata: dict[str, str], kind: str) -> None:
    """Whatever the name and the metadata are, hints are distinct sizes of images."""
    sizes = hinted_sizes(with_metadata(**metadata), name, kind)
    assert len(set(sizes)) == len(sizes)
    assert all(side in SIDES for size in sizes for side in size)
