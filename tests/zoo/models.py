"""The third-party models: where each one is, realistic data for it, and what its user changes after ``hil init``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime

from tests.zoo import contents, inputs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[Any]]

NEW, EARLIER = 512, 64
"""Samples of audio that a step of Silero's model gets: new ones, and the last ones of the step before."""

MAGIKA_LABELS = dict(
    zip(contents.KINDS, (17, 31, 32, 64, 71, 83, 86, 87, 133, 143, 161, 195, 206, 212), strict=True),
)
"""The class of each kind of file, from the list ``target_labels_space`` in the package's configuration."""

LONGEST = 32
"""Characters of a line of text; labels are filled up with -1."""


@dataclass(frozen=True)
class Model:
    """A third-party model.

    Attributes:
        file: the ONNX file, relative to the folder of the packages.
        data: called with the ONNX file, a number of samples and a seed; returns the arrays of an ``.npz`` file.
        edits: what the user replaces in the text that ``hil init`` writes for the model.
        samples: number of validation samples.
        calibration: number of calibration samples; 0 if INT8 is not used.
        method: how INT8 ranges are computed from them.
        tolerance: the task's largest accepted loss, as a line of TOML; it is large, since there are few samples.
        ends: the expected outcome: the gate's exit code, or the checks that do not pass, with their verdicts.
    """

    file: str
    data: Callable[[Path, int, int], Arrays]
    edits: Sequence[tuple[str, str]] = ()
    samples: int = 16
    calibration: int = 0
    method: str = "minmax"
    tolerance: str = ""
    ends: str = "gate 0"


def _session(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # some of these files have shapes that the runtime warns about
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def steps(path: Path, count: int, seed: int) -> Arrays:
    """Return steps of a recurrent model of speech, each with the state after the steps before it."""
    session = _session(path)
    state = np.zeros((2, 1, 128), np.float32)
    made: dict[str, list[NDArray[Any]]] = {"input": [], "state": []}
    rate = {"sr": np.array(inputs.RATE)} if "sr" in {port.name for port in session.get_inputs()} else {}
    for frame in inputs.frames(inputs.speech(count * NEW / inputs.RATE, seed), NEW, EARLIER):
        made["input"].append(frame)
        made["state"].append(state[:, 0])
        state = session.run(None, {"input": frame[None], "state": state, **rate})[1]
    return {name: np.stack(arrays) for name, arrays in made.items()}


def long_sequence(_: Path, count: int, seed: int) -> Arrays:
    """Return frames of speech, each a sequence of one step with an empty state."""
    frames = inputs.frames(inputs.speech(count * NEW / inputs.RATE, seed), NEW, EARLIER)
    return {"input": frames, **{name: np.zeros((len(frames), 1, 128), np.float32) for name in "hc"}}


def text_lines(path: Path, count: int, seed: int) -> Arrays:
    """Return images of lines of text, with the numbers of their characters in the model's own list as labels."""
    characters = ["", *_session(path).get_modelmeta().custom_metadata_map["character"].splitlines(), " "]
    number = {character: index for index, character in enumerate(characters)}
    texts = _texts(count, seed)
    labels = np.full((count, LONGEST), -1)
    for row, text in zip(labels, texts, strict=True):
        row[: len(text)] = [number[character] for character in text]
    images = [inputs.line_of_text(text, 48, 320, seed + index) for index, text in enumerate(texts)]
    return {"x": np.stack([inputs.normalized(image) for image in images]), "labels": labels}


def turned_lines(_: Path, count: int, seed: int) -> Arrays:
    """Return images of lines of text, half of them upside down (label 1)."""
    images = [inputs.line_of_text(text, 48, 192, seed + index) for index, text in enumerate(_texts(count, seed))]
    turned = [image.rotate(180 * (index % 2)) for index, image in enumerate(images)]
    return {"x": np.stack([inputs.normalized(image) for image in turned]), "labels": np.arange(count) % 2}


def _texts(count: int, seed: int) -> list[str]:
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(inputs.WORDS, 2, replace=False)) for _ in range(count)]


def pages(_: Path, count: int, seed: int) -> Arrays:
    """Return images with several lines of text."""
    return {"x": np.stack([inputs.normalized(inputs.page(256, 256, seed + index)) for index in range(count)])}


def photographs(_: Path, count: int, seed: int) -> Arrays:
    """Return crops of photographs, RGB in 0..1."""
    crops = [np.asarray(image, np.float32) for image in inputs.photographs(count, 320, seed)]
    return {"images": np.stack(crops).transpose(0, 3, 1, 2).copy() / np.float32(255)}


def file_contents(_: Path, count: int, seed: int) -> Arrays:
    """Return the ends of files of several kinds, with their kinds as labels."""
    made = list(contents.files(-(-count // len(contents.KINDS)), seed))[:count]
    rows = np.stack([contents.looked_at(content) for _, content in made])
    return {"bytes": rows, "labels": np.array([MAGIKA_LABELS[kind] for kind, _ in made])}


_STEP = ('shape = ["batch", 512]', f'shape = ["batch", {NEW + EARLIER}]')
_PAGE = ("3, 512, 512]  #", "3, [128, 256, 320], [128, 256, 320]]  #")
_READER = ('# task     = "package.module:callable"', 'task     = "scores:characters"')
_ANSWERS = '[models."ch_ppocr_mobile_v2.0_cls_mobile".outputs'
_CLASSES = ('# task     = "classification"', 'task     = "classification"')

VAD, OCR, EARLIER_OCR = "silero_vad/data", "rapidocr/models", "rapidocr_onnxruntime/models"

MODELS = {
    "silero_vad": Model(f"{VAD}/silero_vad.onnx", steps, [_STEP], samples=96),
    "silero_vad_16k_op15": Model(f"{VAD}/silero_vad_16k_op15.onnx", steps, [_STEP], samples=96),
    "silero_vad_half": Model(f"{VAD}/silero_vad_half.onnx", steps, [_STEP], samples=96),
    "silero_vad_op18_ifless": Model(f"{VAD}/silero_vad_op18_ifless.onnx", steps, [_STEP], samples=96),
    "silero_vad_openvino_16k": Model(f"{VAD}/silero_vad_openvino_16k.onnx", steps, samples=96),
    "silero_vad_16k_sequence": Model(f"{VAD}/silero_vad_16k_sequence.onnx", long_sequence, samples=96),
    "standard_v3_3": Model(
        "magika/models/standard_v3_3/model.onnx",
        file_contents,
        [_CLASSES, ("range = [0.0, 255.0]", "range = [0.0, 256.0]")],
        samples=56,
        tolerance='top1_drop = "10 %"',
    ),
    "320n": Model(
        "nudenet/320n.onnx",
        photographs,
        [
            ('shape = ["batch", 3, 320, 320]', 'shape = ["batch", 3, [256, 320, 384], [256, 320, 384]]'),
        ],
        samples=10,
    ),
    "ch_ppocr_mobile_v2.0_cls_mobile": Model(
        f"{OCR}/ch_ppocr_mobile_v2.0_cls_mobile.onnx",
        turned_lines,
        [
            _CLASSES,
            (
                '# [models."ch_ppocr_mobile_v2.0_cls_mobile".outputs',
                '[models."ch_ppocr_mobile_v2.0_cls_mobile".outputs',
            ),
            ('# kind = "classification"', 'kind = "classification"'),
        ],
        samples=32,
        calibration=48,
        method="percentile",
        tolerance='top1_drop = "10 %", answers = "20 %"',
    ),
    "PP-OCRv6_det_small": Model(f"{OCR}/PP-OCRv6_det_small.onnx", pages, [_PAGE], samples=10),
    "PP-OCRv6_rec_small": Model(
        f"{OCR}/PP-OCRv6_rec_small.onnx",
        text_lines,
        [_READER, ("3, 48, 320]  #", "3, 48, [160, 320, 480]]  #")],
        samples=10,
        tolerance="score_drop = 0.1",
    ),
    "ch_PP-OCRv4_det_infer": Model(
        f"{EARLIER_OCR}/ch_PP-OCRv4_det_infer.onnx",
        pages,
        [_PAGE],
        samples=10,
    ),
    "ch_PP-OCRv4_rec_infer": Model(
        f"{EARLIER_OCR}/ch_PP-OCRv4_rec_infer.onnx",
        text_lines,
        [_READER, ("3, 48, 192]  #", "3, 48, [160, 320, 480]]  #")],
        samples=10,
        tolerance="score_drop = 0.1",
    ),
}
"""The models by the name that ``hil init`` gives them.

The sixth file of RapidOCR, a classifier for ``rapidocr_onnxruntime``, has the same bytes as the one above.
"""
