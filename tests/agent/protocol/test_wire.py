from __future__ import annotations

import json
import os
import struct
import threading
import tracemalloc
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.agent.protocol import arrays, wire
from hil.agent.protocol.channel import MAX_BANNER, Channel
from hil.dtypes import from_file
from tests.arrays import ARRAYS
from tests.fuzz.wire import fuzz

Array = npt.NDArray[Any]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def through_pipe(data: bytes) -> Channel:
    """Return a channel whose other end wrote ``data`` and closed."""
    read_fd, write_fd = os.pipe()

    def write() -> None:
        with os.fdopen(write_fd, "wb") as file:
            file.write(data)

    threading.Thread(target=write, daemon=True).start()
    return Channel(read_fd, read_fd)


def frame(header: wire.Header, named: list[tuple[str, Array]]) -> bytes:
    """Return the bytes of one frame."""
    listing, chunks = arrays.describe(named)
    body = b"".join(bytes(chunk) for chunk in chunks)
    return bytes(wire.encode(dict(header, arrays=listing), len(body))) + body


def read_frame(data: bytes) -> tuple[wire.Header, list[tuple[str, Array]]]:
    """Return the header and the arrays that a reader gets from ``data``."""
    channel = through_pipe(data)
    try:
        header = channel.receive()
        slots = wire.slots(header, channel.pending)
        return header, arrays.views(channel.take(), slots)
    finally:
        os.close(channel.read_fd)


@given(
    st.dictionaries(st.text(max_size=8), VALUES, max_size=5),
    st.lists(st.tuples(st.text(max_size=5), ARRAYS), max_size=4),
)
def test_what_is_sent_arrives(header: wire.Header, named: list[tuple[str, Array]]) -> None:
    """A frame transfers its header and every array bit for bit: each type and rank, NaN, zero-length dimensions."""
    header.pop("arrays", None)
    header_read, received = read_frame(frame(header, named))
    header_read.pop("arrays")
    assert header_read == header
    assert [name for name, _ in received] == [name for name, _ in named]
    for (_, sent), (_, bits) in zip(named, received, strict=True):
        back = from_file(bits)
        assert (back.dtype, back.shape, back.tobytes()) == (sent.dtype, sent.shape, sent.tobytes())


@given(st.lists(st.tuples(st.just("x"), ARRAYS), max_size=3), st.data())
def test_a_cut_frame_is_refused(named: list[tuple[str, Array]], data: st.DataObject) -> None:
    """A frame that ends early raises WireError wherever it is cut, and does not hang."""
    whole = frame({"op": "run"}, named)
    with pytest.raises(wire.WireError):
        read_frame(whole[: data.draw(st.integers(0, len(whole) - 1))])


@given(st.binary(max_size=200))
def test_garbage_is_refused(data: bytes) -> None:
    """Bytes that are not a frame raise WireError and nothing else."""
    with pytest.raises(wire.WireError):
        read_frame(data)


@given(
    st.lists(st.dictionaries(st.sampled_from(["name", "dtype", "shape", "nbytes"]), VALUES), max_size=3),
    st.integers(0, 99),
)
def test_a_wrong_listing_is_refused(listing: list[Any], body: int) -> None:
    """A list of arrays is accepted only if every array lies within the body; any other list raises WireError."""
    try:
        slots = wire.slots({"arrays": listing}, body)
    except wire.WireError:
        return
    assert all(slot.offset + slot.nbytes <= body for slot in slots)


@pytest.mark.parametrize(
    "entry",
    [
        {"name": "x", "dtype": "float32", "shape": [1 << 40, 1 << 40], "nbytes": 0},
        {"name": "x", "dtype": "float32", "shape": [2], "nbytes": 4},
        {"name": "x", "dtype": "object", "shape": [1], "nbytes": 8},
        {"name": "x", "dtype": "float32", "shape": [-1], "nbytes": -4},
        {"name": "x", "dtype": "float32", "shape": [True], "nbytes": 4},
        {"name": "x", "dtype": "float32", "shape": [1] * 33, "nbytes": 4},
        {"name": "x", "dtype": "float32", "shape": [1]},
        {"name": 1, "dtype": "float32", "shape": [1], "nbytes": 4},
    ],
)
def test_sizes_are_checked(entry: dict[str, Any]) -> None:
    """An array with a malformed name, type or shape, or with another size than announced, raises WireError."""
    with pytest.raises(wire.WireError):
        wire.slots({"arrays": [entry]}, 64)


@pytest.mark.parametrize(
    "text",
    [
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1e999}',
        b'{"a": 1, "a": 2}',
        b'{"a": ' + b"9" * 100_000 + b"}",
        b"[1]",
        b"",
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_json_is_strict(text: bytes) -> None:
    """A header that is not a JSON object, has NaN, infinity or duplicate keys, or is endless, raises WireError."""
    with pytest.raises(wire.WireError):
        wire.decode_header(text)


@pytest.mark.parametrize(
    "head", [(wire.MAGIC, wire.MAX_HEADER + 1, 0), (wire.MAGIC, 2, wire.MAX_BODY + 1), (b"SSH-2.0-", 2, 0)]
)
def test_limits_are_checked_before_memory_is_allocated(head: tuple[bytes, int, int]) -> None:
    """Sizes over the limits are rejected from the head alone, before memory is allocated."""
    with pytest.raises(wire.WireError):
        wire.decode_head(struct.pack("<8sIQ", *head))


def test_too_many_arrays_are_refused() -> None:
    """A frame carries at most MAX_ARRAYS arrays."""
    entry = {"name": "x", "dtype": "float32", "shape": [0], "nbytes": 0}
    assert len(wire.slots({"arrays": [entry] * wire.MAX_ARRAYS}, 0)) == wire.MAX_ARRAYS
    with pytest.raises(wire.WireError):
        wire.slots({"arrays": [entry] * (wire.MAX_ARRAYS + 1)}, 0)


def test_a_header_too_long_is_not_sent() -> None:
    """The sender rejects a header over the limit before it writes a byte."""
    with pytest.raises(wire.WireError, match="limit"):
        wire.encode({"text": "x" * wire.MAX_HEADER}, 0)


def test_a_banner_is_skipped() -> None:
    """Output of a login shell before the first frame is skipped."""
    channel = through_pipe(b"Welcome to Ubuntu\n\x93HI\n" + frame({"hello": 1}, []))
    assert channel.find_start() == b"Welcome to Ubuntu\n\x93HI\n"
    assert channel.receive()["hello"] == 1


def test_an_endless_banner_is_refused() -> None:
    """A stream without a frame is rejected after MAX_BANNER bytes."""
    with pytest.raises(wire.WireError, match="no frame within"):
        through_pipe(b"x" * (MAX_BANNER + 10)).find_start()


def test_silence_is_an_error() -> None:
    """A stream without data raises Silent after ``patience`` seconds."""
    read_fd, write_fd = os.pipe()
    with pytest.raises(wire.Silent):
        Channel(read_fd, write_fd, patience=0.05).receive()


def test_memory_follows_what_arrives() -> None:
    """A frame that announces 2 GiB and contains ten bytes makes the reader allocate less than 8 MiB."""
    channel = through_pipe(wire.encode({"op": "x"}, wire.MAX_BODY) + b"0123456789")
    channel.receive()
    tracemalloc.start()
    with pytest.raises(wire.WireError, match="middle of a frame"):
        channel.take()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_objects_are_never_carried() -> None:
    """Arrays of objects or strings cannot be sent; nothing is pickled."""
    for value in (np.array([{}]), np.array(["a"]), np.array([1j])):
        with pytest.raises(wire.WireError, match="unsupported dtype"):
            arrays.describe([("x", value)])


def test_big_endian_and_strided_arrays_arrive_by_value() -> None:
    """Arrays are sent contiguous and little endian, whatever their layout."""
    sent = np.arange(24, dtype=">f8").reshape(4, 6)[::2, ::3]
    [(_, back)] = read_frame(frame({}, [("x", sent)]))[1]
    assert back.tolist() == sent.tolist()


def test_fuzzed_frames_never_crash_or_hang() -> None:
    """Mutated frames raise WireError or are read; HIL_FUZZ_FRAMES raises their number."""
    count = int(os.environ.get("HIL_FUZZ_FRAMES", "3000"))
    counts = fuzz(count, seed=1)
    assert counts["read"] + counts["refused"] == count
    assert json.dumps(counts)
