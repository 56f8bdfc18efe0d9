"""Whether TensorRT's builder has kernels for a GPU, by the files that it has for each architecture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from hil.jetson.raw_facts import Raw, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

OBSERVED = "10.16"
"""The release in which the builder was observed to use the files of sm_86 on an Orin (sm_87), with JetPack 7.2. Source:
OE4T/meta-tegra, master, ``tensorrt-core_10.16.2.10-1.bb``. Users report that 10.13.3 builds no engines on an Orin."""


class Lacking(NamedTuple):
    """What the builder lacks, as one line of text.

    ``replaced`` is whether the builder is known to use another architecture's files instead.
    """

    text: str
    replaced: bool


def lacking_kernels(board: Any, sm: str | None) -> Lacking | None:
    """Return what TensorRT's builder lacks for a GPU of compute capability ``sm`` (``"8.7"``).

    Return ``None`` if it lacks nothing, or if this is unknown. ``board`` has the raw facts
    (``hil.agent.jetson.board_facts``).
    """
    raw = Raw(board)
    listed = raw.facts.get("kernels")
    known = [one for one in listed if isinstance(one, str) and one.isdigit()] if isinstance(listed, list) else []
    code = "".join((sm or "").split("."))
    if not known or not code.isdigit() or code in known:
        return None
    version = text_of(raw.table("libraries"), "nvinfer") or ""
    older = [one for one in known if one[:-1] == code[:-1] and int(one) < int(code)]
    release = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    what = f"TensorRT {version or 'there'} has kernels for sm {', '.join(known)}, and none for this GPU (sm {code})"
    if older and release >= tuple(int(part) for part in OBSERVED.split(".")):
        return Lacking(f"{what}: its builder uses the kernels of sm {older[-1]}, which may be slower", replaced=True)
    return Lacking(f"{what}: it cannot build engines there", replaced=False)


def kernels_text(facts: Mapping[str, Any], sm: str | None) -> str:
    """Return the text on lacking kernels for the end of a failed build's message, with ``"; "`` before it.

    The text is empty if no kernels are known to be lacking.
    """
    lacking = lacking_kernels(facts.get("board"), sm)
    return "" if lacking is None else f"; {lacking.text}"
