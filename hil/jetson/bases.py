"""List base images for containers on a Jetson by its release of Jetson Linux. Each has a source that names it."""

from __future__ import annotations

from dataclasses import dataclass

CONTAINERS = "dusty-nv/jetson-containers jetson_containers/l4t_version.py @019980c7: get_l4t_base"


@dataclass(frozen=True)
class Base:
    """A base image that ``source`` names for containers on these releases of Jetson Linux."""

    image: str
    l4t: tuple[str, ...]
    source: str


BASES = (
    Base("nvcr.io/nvidia/l4t-base:r32.6.1", ("32.6.1",), CONTAINERS),
    Base(
        "nvcr.io/nvidia/l4t-base:r32.7.1",
        ("32.7.1", "32.7.2", "32.7.3", "32.7.4", "32.7.5", "32.7.6"),
        CONTAINERS,
    ),
    *(Base(f"nvcr.io/nvidia/l4t-jetpack:r{l4t}", (l4t,), CONTAINERS) for l4t in ("35.1.0", "35.2.1", "35.3.1")),
    Base(
        "nvcr.io/nvidia/l4t-jetpack:r35.4.1",
        ("35.4.1", "35.5.0", "35.6.0", "35.6.1", "35.6.2", "35.6.4"),
        CONTAINERS,
    ),
    Base(
        "nvcr.io/nvidia/l4t-jetpack:r36.4.0",
        ("36.4.0", "36.4.2", "36.4.3", "36.4.4", "36.4.7"),
        "pytorch/TensorRT .github/scripts/filter-matrix.py (JetPack 6.2); that 36.4 takes containers of 36.4: "
        "dusty-nv/jetson-containers jetson_containers/l4t_version.py @019980c7: l4t_version_compatible",
    ),
)
"""Oldest first. ``l4t-base`` does not contain TensorRT: NVIDIA's container runtime mounts the board's.

36.2 to 36.3, 36.5 and JetPack 7 are left out: no source was found for an image that fits their TensorRT.
"""


def base_for(l4t: str | None) -> Base | None:
    """Return the base image for a board with this Jetson Linux (``36.4.3``); ``None`` if no image is known."""
    return next((base for base in BASES if l4t in base.l4t), None)
