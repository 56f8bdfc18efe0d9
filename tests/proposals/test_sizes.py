"""The most usual sizes are tried first; dimensions with one name always get one size."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from hil.onnx_files.signature import Signature, TensorSpec
from hil.proposals.sizes import assignments, groups
from tests.datasets.project import spec

NAME = st.sampled_from(["batch", "a", "b", "c"])
SHAPE = st.lists(st.one_of(st.integers(1, 4), NAME), max_size=5)
TENSOR = st.builds(
    lambda name, dtype, shape: spec(name, dtype, *shape),
    st.sampled_from(["x", "image", "h0", "tokens", "audio"]),
    st.sampled_from(["float32", "int64"]),
    SHAPE,
)


def first(*inputs: TensorSpec, outputs: tuple[TensorSpec, ...] = ()) -> dict[str, int]:
    """Return the sizes that are tried first."""
    return next(assignments(groups(Signature(inputs, outputs))))


def test_the_first_sizes_are_those_of_the_family() -> None:
    """Images are first tried with a classifier's or detector's size, lines of text with height 48, texts with 128."""
    image = spec("images", "float32", "batch", 3, "h", "w")
    classes, boxes = (spec("y", "float32", "batch", 10),), (spec("y", "float32", "batch", 84, "cells"),)
    assert first(image, outputs=classes) == {"h": 224, "w": 224}
    assert first(image, outputs=boxes) == {"h": 640, "w": 640}
    characters = (spec("y", "float32", "batch", "steps", 6625),)
    assert first(image, outputs=characters) == {"h": 48, "w": 192}
    assert first(spec("x", "float32", "batch", 3, 48, "w")) == {"w": 320}
    assert first(spec("ids", "int64", "batch", "n"), spec("attention_mask", "int64", "batch", "n")) == {"n": 128}
    assert first(spec("audio", "float32", "batch", "samples")) == {"samples": 16_000}
    state = spec("h", "float32", 2, "batch", 8)
    assert first(spec("audio", "float32", "batch", "samples"), state, outputs=(state,)) == {"samples": 512}
    assert first(spec("x", "float32", "batch", 3, "side", "side")) == {"side": 640}


def test_the_texts_beside_images_are_few() -> None:
    """A second batch, such as the texts that a model compares with images, is tried with one sample first."""
    texts = replace(spec("input_ids", "int64", "text_batch_size", "n"), batch_axis=None)
    images = spec("pixel_values", "float32", "image_batch_size", 3, 224, 224)
    assert first(texts, images)["text_batch_size"] == 1


def test_each_candidate_of_the_task_is_tried() -> None:
    """The usual sizes of images and of lines of text are among the first 30 that are tried."""
    found = groups(Signature((spec("x", "float32", "batch", 3, "h", "w"),), ()))
    tried = [(sizes["h"], sizes["w"]) for sizes in assignments(found)]
    usual = {(size, size) for size in (224, 320, 640, 416, 512, 256)} | {(48, 192), (32, 320)}
    assert usual <= set(tried[:30])


@given(st.lists(TENSOR, min_size=1, max_size=4, unique_by=lambda one: one.name))
def test_every_dynamic_dimension_has_one_size(inputs: list[TensorSpec]) -> None:
    """Each assignment has a positive size for each dimension that is not the batch, and none is tried twice."""
    signature = Signature(tuple(inputs), ())
    wanted = {size for one in inputs for size in one.shape if isinstance(size, str)} - signature.batch_names()
    tried = [tuple(sorted(sizes.items())) for sizes in assignments(groups(signature))]
    assert len(set(tried)) == len(tried) >= 1
    for sizes in tried[:20]:
        assert {name for name, _ in sizes} == wanted
        assert all(size >= 1 for _, size in sizes)
