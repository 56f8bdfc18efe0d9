"""List JetPack releases with their L4T and the versions that they ship.

What a board has installed may differ; it is read on the board.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Release:
    """One JetPack release. An unknown field is ``None``.

    Versions are those in the packages' names.

    Attributes:
        jetpack: its version.
        l4t: its releases of Jetson Linux (L4T).
        ubuntu: the version of Ubuntu.
        python: the version of the Linux distribution's Python.
        cuda: the version of the CUDA toolkit.
        tensorrt: the version of TensorRT.
        cudnn: the version of cuDNN.
        socs: the chips that it supports.
        source: where the row comes from.
    """

    jetpack: str
    l4t: tuple[str, ...]
    ubuntu: str | None
    python: str | None
    cuda: str | None
    tensorrt: str | None
    cudnn: str | None
    socs: tuple[str, ...]
    source: str


NANO_TO_XAVIER, XAVIER_ORIN = ("tegra210", "tegra186", "tegra194"), ("tegra194", "tegra234")
ORIN, THOR, ORIN_THOR = ("tegra234",), ("tegra264",), ("tegra234", "tegra264")
JP4 = ("18.04", "3.6", "10.2", "8.2.1", "8.2.1.32")
JP51 = ("20.04", "3.8", "11.4", "8.5.2", "8.6.0.166")
JP60 = ("22.04", "3.10", "12.2", "8.6.2", "8.9.4.25")
JP61 = ("22.04", "3.10", "12.6", "10.3.0", "9.3.0.75")
JP70 = ("24.04", "3.12", "13.0", "10.13.3", "9.12.0.46")
META, NAMES = "OE4T/meta-tegra ", "; JetPack's name: dusty-nv/jetson-containers l4t_version.py"
R32_7, R35, R36_4 = META + "kirkstone-l4t-r32.7.x", META + "langdale, mickledore, kirkstone", META + "scarthgap"

RELEASES = (
    Release("4.6", ("32.6.1",), "18.04", "3.6", "10.2", "8.0.1", "8.2.1.32", NANO_TO_XAVIER,
            META + "dunfell-l4t-r32.6.1"),
    *(Release(f"4.6.{patch}", (f"32.7.{patch}",), *JP4, NANO_TO_XAVIER, R32_7 + NAMES) for patch in range(1, 7)),
    Release("5.0.2", ("35.1.0",), "20.04", "3.8", "11.4", "8.4.1", "8.4.1.50", XAVIER_ORIN, META + "@7ee435d4"),
    Release("5.1", ("35.2.1",), *JP51, XAVIER_ORIN, META + "langdale"),
    Release("5.1.1", ("35.3.1",), *JP51, XAVIER_ORIN, R35 + NAMES),
    Release("5.1.2", ("35.4.1",), *JP51, XAVIER_ORIN, META + "mickledore" + NAMES),
    Release("5.1.3", ("35.5.0",), *JP51, XAVIER_ORIN, R35 + NAMES),
    Release("5.1.4", ("35.6.0",), *JP51, XAVIER_ORIN, R35 + NAMES),
    Release("5.1.5", ("35.6.1", "35.6.2"), *JP51, XAVIER_ORIN, R35 + NAMES),
    Release("5.1.6", ("35.6.4",), *JP51, XAVIER_ORIN, META + "kirkstone"),
    Release("6.0 DP", ("36.2.0",), *JP60, ORIN, META + "@2e230be2"),
    Release("6.0", ("36.3.0",), *JP60, ORIN, META + "@16b0252c^"),
    Release("6.1", ("36.4.0", "36.4.2"), *JP61, ORIN, META + "styhead"),
    Release("6.2", ("36.4.3",), *JP61, ORIN, META + "walnascar"),
    Release("6.2.1", ("36.4.4", "36.4.7"), *JP61, ORIN, R36_4),
    Release("6.2.2", ("36.5.0",), *JP61, ORIN, R36_4),
    Release("6.2.3", ("36.5.2",), *JP61, ORIN, META + "@d133bad0"),
    Release("7.0", ("38.2.0", "38.2.1", "38.2.2"), *JP70, THOR, META + "master-l4t-r38.2.x"),
    Release("7.1", ("38.4.0",), *JP70, THOR, META + "master-l4t-r38.4.x"),
    Release("7.2", ("39.2.0",), "24.04", "3.12", "13.2", "10.16.2", "9.20.0.46", ORIN_THOR, META + "master"),
    Release("7.2.1", ("39.2.1",), "24.04", "3.12", "13.2", "10.16.2", "9.20.0.46", ORIN_THOR, META + "@e065842c"),
    Release("7.2.2", (), None, None, None, None, None, ORIN_THOR,
            "named only by TensorRT 11.4.1's documentation; its L4T and its contents were not found"),
)  # fmt: skip
"""Oldest first. L4T 35.6.3 is left out, because no source was found for its JetPack."""


def release_of(l4t: str) -> Release | None:
    """Return the release with this L4T (``36.4.3``); ``None`` if it is not in the table."""
    return next((release for release in RELEASES if l4t in release.l4t), None)


def release_named(jetpack: str) -> Release | None:
    """Return the release with this name (``6.2.1``); ``None`` if it is not in the table."""
    return next((release for release in RELEASES if release.jetpack == jetpack), None)
