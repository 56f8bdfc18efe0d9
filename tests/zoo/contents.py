"""Files of many kinds, made from seeds, and the bytes of a file that the model ``magika`` looks at."""

from __future__ import annotations

import csv
import gzip
import io
import json
import wave
import zipfile
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

BLOCK, PADDING = 1024, 256
"""The number of bytes that are read at each end of a file, and the value that stands for a missing byte."""

NAMES = [
    "speed",
    "angle",
    "left",
    "right",
    "battery",
    "state",
    "motor",
    "limit",
    "reading",
    "camera",
    "frame",
    "offset",
    "gain",
    "target",
    "pose",
    "wheel",
]

Words = list[str]


def looked_at(content: bytes) -> NDArray[np.int32]:
    """Return the first and last ``BLOCK`` bytes of ``content``, without outer white space, padded to int32 [2048]."""
    first, last = content.lstrip()[:BLOCK], content.rstrip()[-BLOCK:]
    row = np.full(2 * BLOCK, PADDING, np.int32)
    row[: len(first)] = list(first)
    row[2 * BLOCK - len(last) :] = list(last)
    return row


def files(rounds: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield the kind of a file, by magika's name, and its content: ``rounds`` files of each kind."""
    random = np.random.default_rng(seed)
    for _ in range(rounds):
        for kind, make in KINDS.items():
            yield kind, make(random, [str(name) for name in random.permutation(NAMES)])


def _image(random: np.random.Generator) -> Image.Image:
    pixels = random.integers(0, 255, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((96, 64), Image.Resampling.BICUBIC)


def _encoded(image_format: str) -> Callable[[np.random.Generator, Words], bytes]:
    def make(random: np.random.Generator, _: Words) -> bytes:
        stream = io.BytesIO()
        _image(random).save(stream, image_format)
        return stream.getvalue()

    return make


def _records(random: np.random.Generator, words: Words) -> list[dict[str, object]]:
    return [
        {words[0]: round(float(random.normal()), 3), words[1]: int(random.integers(100)), words[2]: words[3 + row % 9]}
        for row in range(int(random.integers(8, 30)))
    ]


def _json(random: np.random.Generator, words: Words) -> bytes:
    return json.dumps({words[4]: _records(random, words), words[5]: {words[6]: True}}, indent=2).encode()


def _csv(random: np.random.Generator, words: Words) -> bytes:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, words[:3])
    writer.writeheader()
    writer.writerows(_records(random, words))
    return stream.getvalue().encode()


def _python(random: np.random.Generator, words: Words) -> bytes:
    lines = ["from __future__ import annotations", "", "import math", "import sys", ""]
    for name, other in zip(words[:6], words[6:], strict=False):
        lines += [
            f"def {name}_of({other}: float, scale: float = {random.uniform(0, 9):.2f}) -> float:",
            f'    """Return the {name} of a {other}."""',
            f"    if {other} < 0:",
            f'        raise ValueError(f"{other} is negative: {{{other}}}")',
            f"    return math.sqrt({other}) * scale",
            "",
            "",
        ]
    return "\n".join([*lines, 'if __name__ == "__main__":', f"    print({words[0]}_of(float(sys.argv[1])))"]).encode()


def _c(random: np.random.Generator, words: Words) -> bytes:
    lines = ["#include <math.h>", "#include <stdio.h>", "", f"#define {words[0].upper()} {random.integers(99)}", ""]
    for name, other in zip(words[:6], words[6:], strict=False):
        lines += [
            f"static double {name}_of(const double *{other}, size_t n) {{",
            "    double sum = 0.0;",
            f"    for (size_t i = 0; i < n; i++) sum += {other}[i] * {random.uniform(0, 9):.2f};",
            "    return sqrt(sum);",
            "}",
            "",
        ]
    return "\n".join([*lines, "int main(void) {", '    printf("%f\\n", 1.0);', "    return 0;", "}"]).encode()


def _javascript(random: np.random.Generator, words: Words) -> bytes:
    lines = ["'use strict';", "const fs = require('fs');", ""]
    for name, other in zip(words[:6], words[6:], strict=False):
        lines += [
            f"function {name}Of({other}, scale = {random.uniform(0, 9):.2f}) {{",
            f"  if (typeof {other} !== 'number') throw new TypeError(`{other} is ${{typeof {other}}}`);",
            f"  return Math.sqrt({other}) * scale;",
            "}",
            "",
        ]
    return "\n".join([*lines, f"module.exports = {{ {words[0]}Of, {words[1]}Of }};"]).encode()


def _shell(random: np.random.Generator, words: Words) -> bytes:
    lines = ["#!/usr/bin/env bash", "set -euo pipefail", ""]
    for name, other in zip(words[:8], words[8:], strict=True):
        lines += [
            f'{name}="${{1:-{random.integers(99)}}}"',
            f'if [ -d "/etc/{other}" ]; then',
            f'  echo "{name}"',
            "fi",
        ]
    return "\n".join([*lines, f'exec "$HOME/bin/{words[0]}" "$@"']).encode()


def _html(random: np.random.Generator, words: Words) -> bytes:
    rows = "\n".join(f"<tr><td>{word}</td><td>{random.integers(999)}</td></tr>" for word in words)
    head = f'<head><meta charset="utf-8"><title>{words[0]}</title></head>'
    return f"<!DOCTYPE html>\n<html>\n{head}\n<body>\n<table>\n{rows}\n</table>\n</body>\n</html>\n".encode()


def _xml(random: np.random.Generator, words: Words) -> bytes:
    rows = "\n".join(f'  <{words[0]} name="{word}">{random.integers(999)}</{words[0]}>' for word in words)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{words[1]}>\n{rows}\n</{words[1]}>\n'.encode()


def _css(random: np.random.Generator, words: Words) -> bytes:
    rules = [
        f".{word} > .{words[0]} {{\n  color: #{random.integers(16**6):06x};\n  margin: {random.integers(20)}px;\n}}\n"
        for word in words
    ]
    return "\n".join(rules).encode()


def _wav(random: np.random.Generator, _: Words) -> bytes:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((8000 * np.sin(np.arange(4000) * random.uniform(0.05, 0.3))).astype("<i2").tobytes())
    return stream.getvalue()


def _gzip(random: np.random.Generator, words: Words) -> bytes:
    return gzip.compress(_json(random, words), mtime=0)


def _zip(random: np.random.Generator, words: Words) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for word, make in zip(words, (_json, _csv, _c), strict=False):
            archive.writestr(zipfile.ZipInfo(f"{word}.txt"), make(random, words))
    return stream.getvalue()


KINDS: Mapping[str, Callable[[np.random.Generator, Words], bytes]] = {
    "c": _c,
    "css": _css,
    "csv": _csv,
    "gzip": _gzip,
    "html": _html,
    "javascript": _javascript,
    "jpeg": _encoded("JPEG"),
    "json": _json,
    "png": _encoded("PNG"),
    "python": _python,
    "shell": _shell,
    "wav": _wav,
    "xml": _xml,
    "zip": _zip,
}
