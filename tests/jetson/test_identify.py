from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.jetson import (
    MODULES,
    RELEASES,
    SMS,
    identify,
    identity_fields,
    likely_slugs,
    module_of,
    power_modes,
    release_of,
    versions,
)
from hil.jetson.modules import GIB
from tests.jetson.trees import AGX_ORIN, GENERATIONS, MIB, NANO, ORIN_NANO, ORIN_NX, THOR, XAVIER, Tree

if TYPE_CHECKING:
    from pathlib import Path

LOOSE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
"""Any JSON value."""

TEXTS = st.sampled_from(
    [
        *("nvidia,tegra234", "nvidia,tegra264", "nvidia,tegra194", "nvidia,p3768-0000+p3767-0000", "nvidia,p3834-0008"),
        *("nvidia,p3767-0009", "nvidia,p2822-0000+p2888-0001", "p3767-0000", "nvidia,p3701-0000", "x" * 40, ""),
        *("3767-301-0000-M.1-1-1-jetson-orin-nano-devkit-super-", "3834-0000", "3701-500-0005-A.0", "9999-000-0000-"),
        *(ORIN_NX.release, NANO.release, "# R40 (release), REVISION: 1.0", "# R36 (release), REVISION: ", "36.4.4-1"),
        *("6.2.1+b38", "8.0-b1", "6..2", "40.1.0-2027"),
    ]
)
SHAPED = st.fixed_dictionaries(
    {},
    optional={
        "compatible": st.lists(TEXTS, max_size=5) | LOOSE,
        "memory_total": st.integers(0, 200 * GIB) | LOOSE,
        "boot_control": st.dictionaries(st.sampled_from(["TNSPEC", "COMPATIBLE_SPEC"]), TEXTS | LOOSE) | LOOSE,
        "nv_tegra_release": TEXTS | LOOSE,
        "packages": st.dictionaries(st.sampled_from(["nvidia-l4t-core", "nvidia-jetpack"]), TEXTS | LOOSE) | LOOSE,
        "serial": LOOSE,
        "libraries": LOOSE,
        "cuda": LOOSE,
        "power_modes": LOOSE,
        "not_readable": LOOSE,
    },
)
"""Facts with valid names and random values."""


@pytest.mark.parametrize("jetpack", GENERATIONS)
def test_each_generation_is_identified(jetpack: str, tmp_path: Path) -> None:
    """Module, JetPack, L4T and serial number are identified without doubts."""
    tree, slug = GENERATIONS[jetpack]
    board = identify(tree.facts(tmp_path))
    assert board.module is not None
    assert (board.module.slug, board.jetpack, board.serial) == (slug, jetpack, tree.serial)
    assert board.release is not None
    assert board.l4t in board.release.l4t
    assert (board.why, board.doubts) == ("", ())
    assert board.power_mode == tree.mode


@given(LOOSE)
def test_arbitrary_facts_identify_no_module(raw: Any) -> None:
    """Facts that are not a board's raise no error and identify no module."""
    board = identify(raw)
    assert (board.module, board.release, board.soc) == (None, None, None)
    assert board.why
    assert identity_fields(raw) is None


@given(SHAPED)
def test_an_identification_fits_the_facts(raw: dict[str, Any]) -> None:
    """A module fits part number, chip and memory of the facts; a release fits the L4T version or JetPack package."""
    board = identify(raw)
    identity_fields(raw), versions(raw), power_modes(raw)
    if board.release is not None and board.l4t not in board.release.l4t:
        assert raw["packages"]["nvidia-jetpack"].startswith(board.release.jetpack)
    assert (board.module is None) == bool(board.why)
    if board.module is None:
        return
    assert board.part in board.module.parts
    assert board.part[1:5] in str(raw["compatible"]) + str(raw.get("boot_control"))
    assert f"nvidia,{board.module.soc}" in raw["compatible"]
    total = raw.get("memory_total")
    assert type(total) is not int or total <= 0 or board.module.fits(total)


@pytest.mark.parametrize(
    ("tree", "changes", "why"),
    [
        (
            ORIN_NX,
            {"compatible": ["nvidia,p3767-0009", "nvidia,tegra234"], "boot_control": None},
            "p3767-0009 is not in",
        ),
        (ORIN_NX, {"memory_total": 7620 * MIB}, "orin-nx-16gb, but the machine has 7.4 GiB"),
        (ORIN_NX, {"memory_total": 30536 * MIB}, "orin-nx-16gb, but the machine has 29.8 GiB"),
        (XAVIER, {"memory_total": None}, "the machine's memory could not be read"),
        (XAVIER, {"memory_total": 20 * GIB}, "the machine has 20.0 GiB"),
        (ORIN_NX, {"compatible": ["nvidia,p3767-0000", "nvidia,p3767-0001", "nvidia,tegra234"]}, "several modules"),
        (
            ORIN_NX,
            {"compatible": ["nvidia,p3767-0000", "nvidia,tegra264"], "boot_control": None},
            "has a tegra234, but",
        ),
        (ORIN_NX, {"compatible": ["nvidia,p3767-0000"]}, "does not name one Tegra chip"),
        (ORIN_NX, {"compatible": ["acme,carrier", "nvidia,tegra234"], "boot_control": None}, "no module's part number"),
        (ORIN_NX, {"compatible": None, "not_readable": {"compatible": "there is no device tree"}}, "no device tree"),
        (ORIN_NX, {"boot_control": {"TNSPEC": "3767-300-0001-M.1-1-1-x"}}, "has p3767-0000, but .* has p3767-0001"),
        (XAVIER, {"boot_control": {"TNSPEC": "2888-600-0008-A.0-1-2-x"}}, "has p2888-0001, but .* has p2888-0008"),
        (THOR, {"memory_total": 62 * GIB}, "thor-t5000, but the machine has 62.0 GiB"),
        (THOR, {"boot_control": {"TNSPEC": "3834-400-0003-x"}}, "p3834-0003 is not in the table"),
    ],
)
def test_contradicting_facts_identify_no_module(tree: Tree, changes: dict[str, Any], why: str, tmp_path: Path) -> None:
    """If facts disagree, are missing or are not in the table, the module is unknown, and the reason names them."""
    board = identify(tree.facts(tmp_path, **changes))
    assert board.module is None
    assert re.search(why, board.why), board.why


def test_memory_distinguishes_modules_of_one_part_number(tmp_path: Path) -> None:
    """The memory size decides between two AGX Orin modules of one part number; if it is unknown, the TNSPEC decides."""
    kit = replace(AGX_ORIN, compatible=("nvidia,p3737-0000+p3701-0000", "nvidia,tegra234"), tnspec=None)
    sizes = {total: identify(kit.facts(tmp_path, memory_total=total * MIB)).module for total in (30536, 62817)}
    assert {total: module and module.slug for total, module in sizes.items()} == {
        30536: "agx-orin-32gb",
        62817: "agx-orin-64gb",
    }
    tnspec = {"TNSPEC": "3701-500-0005-A.0-1-0-x"}
    narrowed = identify(kit.facts(tmp_path, memory_total=None, boot_control=tnspec)).module
    assert narrowed is not None
    assert narrowed.slug == "agx-orin-64gb"


def test_a_thor_is_identified_by_the_part_number_of_its_tnspec(tmp_path: Path) -> None:
    """The part number in the TNSPEC identifies a Thor; a different one in the device tree is a doubt."""
    tnspec = {"TNSPEC": "3834-400-0000--1-0-jetson-agx-thor-devkit-"}
    board = identify(THOR.facts(tmp_path, boot_control=tnspec, memory_total=62 * GIB))
    assert board.module is not None
    assert board.module.slug == "thor-t4000"
    assert "has p3834-0008" in board.doubts[0]


@pytest.mark.parametrize(
    "spec", ["3834-000-0008--1-0-jetson-agx-thor-devkit-", "3834-0008-400--1--x", "3834--0008--1--x", "3834-0008"]
)
def test_the_board_specification_has_more_than_one_layout(spec: str, tmp_path: Path) -> None:
    """The revision may precede or follow the SKU or be missing; the SKU has four digits."""
    board = identify(THOR.facts(tmp_path, boot_control={"TNSPEC": spec}))
    assert (board.part, board.doubts) == ("p3834-0008", ())


def test_a_third_party_carrier_changes_nothing(tmp_path: Path) -> None:
    """On a third-party carrier board, the module is identified by its part number."""
    tree = replace(ORIN_NX, model="Acme Rover", compatible=("acme,rover", "nvidia,p3767-0000", "nvidia,tegra234"))
    board = identify(tree.facts(tmp_path, boot_control={"TNSPEC": "acme-rover-1"}))
    assert board.module is not None
    assert board.module.slug == "orin-nx-16gb"


@pytest.mark.parametrize(("tree", "is_super"), [(ORIN_NX, True), (ORIN_NANO, False), (AGX_ORIN, False)])
def test_the_super_configuration_is_reported(tree: Tree, is_super: bool, tmp_path: Path) -> None:
    """The suffix from flashing shows whether a board has the super configuration; without facts, this is unknown."""
    assert identify(tree.facts(tmp_path)).is_super is is_super
    assert identify({}).is_super is None


@pytest.mark.parametrize(
    ("changes", "l4t", "jetpack", "doubt"),
    [
        (
            {"nv_tegra_release": "# R40 (release), REVISION: 1.0, GCID: 1", "packages": {}},
            "40.1.0",
            None,
            "40.1.0 is not",
        ),
        ({"nv_tegra_release": None}, "36.4.4", "6.2.1", ""),
        ({"nv_tegra_release": None, "packages": {}}, None, None, ""),
        ({"nv_tegra_release": None, "packages": {"nvidia-jetpack": "6.2.2+b24"}}, None, "6.2.2", ""),
        (
            {"packages": {"nvidia-l4t-core": "36.4.3-20250107174145"}},
            None,
            None,
            "L4T 36.4.4, but the package .* 36.4.3",
        ),
        ({"packages": {"nvidia-jetpack": "6.1+b123"}}, "36.4.4", "6.2.1", "the package nvidia-jetpack is 6.1"),
        (
            {"nv_tegra_release": "# R38 (release), REVISION: 2.0", "packages": {}},
            "38.2.0",
            "7.0",
            "does not support Jetson Orin NX",
        ),
        ({"nv_tegra_release": "# R36 (release), REVISION: 4.4.4.4", "packages": {}}, None, None, ""),
        (
            {"nv_tegra_release": "# R39 (release), REVISION: 2.2", "packages": {"nvidia-jetpack": "7.2.2-b10"}},
            *("39.2.2", "7.2.2", "39.2.2 is not in the table"),
        ),
    ],
)
def test_jetpack_is_derived_from_l4t_or_its_package(
    changes: dict[str, Any], l4t: str | None, jetpack: str | None, doubt: str, tmp_path: Path
) -> None:
    """JetPack comes from the table by L4T, else from the package; contradictions are doubts."""
    board = identify(ORIN_NX.facts(tmp_path, **changes))
    assert (board.l4t, board.jetpack) == (l4t, jetpack)
    assert bool(board.doubts) == bool(doubt)
    assert re.search(doubt, "; ".join(board.doubts))
    assert board.module is not None


def test_the_recorded_identity_has_the_installed_versions(tmp_path: Path) -> None:
    """The versions in an identity are those of the installed libraries."""
    libraries = {"nvinfer": "10.3.0.30", "cudnn": "9.3.0"}
    recorded = identity_fields(ORIN_NX.facts(tmp_path, libraries=libraries))
    assert recorded is not None
    expected = {"module": "orin-nx-16gb", "jetpack": "6.2.1", "l4t": "36.4.4", "serial": ORIN_NX.serial}
    expected |= {"cuda": "12.6.68", "tensorrt": "10.3.0.30", "cudnn": "9.3.0", "power_mode": "40W"}
    assert expected.items() <= recorded.items()
    assert recorded["not_known"] == []
    other = identity_fields(replace(ORIN_NX, release=AGX_ORIN.release, core=AGX_ORIN.core).facts(tmp_path))
    assert other is not None
    assert other != recorded


def test_modules_and_releases_are_distinguishable() -> None:
    """Names and L4T versions are unique, modules with one part number differ in memory, each row has a source."""
    assert len({module.slug for module in MODULES}) == len(MODULES)
    l4ts = [l4t for release in RELEASES for l4t in release.l4t]
    assert len(set(l4ts)) == len(l4ts)
    assert all(module.source for module in MODULES)
    assert all(release.source for release in RELEASES)
    for one in MODULES:
        for other in MODULES:
            if one is not other and set(one.parts) & set(other.parts):
                assert one.memory <= 0.7 * other.memory or other.memory <= 0.7 * one.memory
                assert (one.soc, one.sm) == (other.soc, other.sm)


def test_the_tables_cover_the_boards_in_use() -> None:
    """The tables cover Nano to Thor and JetPack 4.6 to 7.2.1; unknown values are None."""
    assert {module.sm for module in MODULES} == SMS == {"5.3", "6.2", "7.2", "8.7", "11.0"}
    names = [release.jetpack for release in RELEASES]
    for name in (
        "4.6",
        "4.6.6",
        "5.0.2",
        "5.1",
        "5.1.6",
        "6.0 DP",
        "6.0",
        "6.1",
        "6.2",
        "6.2.3",
        "7.0",
        "7.1",
        "7.2.1",
    ):
        assert name in names
    unknown = next(release for release in RELEASES if release.jetpack == "7.2.2")
    assert (unknown.l4t, unknown.cuda, unknown.tensorrt, unknown.python) == ((), None, None, None)
    assert release_of("39.2.2") is None


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.slug)
def test_a_module_matches_its_catalogue_name(module: Any) -> None:
    """The maker's prefix and the case are optional; a correct name is never reported as a typo."""
    for name in (module.slug, f"jetson-{module.slug}", f"NVIDIA {module.name}" if "GB" in module.name else module.slug):
        assert module_of(name) is module
        assert likely_slugs(name) == ()


@pytest.mark.parametrize(
    ("written", "slugs"),
    [
        ("orin-nx-16g", ("orin-nx-16gb",)),
        ("agx-orin-64bg", ("agx-orin-64gb",)),
        ("orin-nx", ("orin-nx-8gb", "orin-nx-16gb")),
        ("nano", ("nano-2gb", "nano-4gb")),
        ("jetson-thor", ("thor-t4000", "thor-t5000")),
        *((gpu, ()) for gpu in ("h200", "geforce-rtx-4090", "rtx-a6000", "l4", "a100-sxm4-80gb", "titan-v", "", "t4")),
    ],
)
def test_only_certain_typos_are_corrected(written: str, slugs: tuple[str, ...]) -> None:
    """A name without memory size matches several modules; names of graphics cards are not corrected."""
    assert likely_slugs(written) == slugs


@pytest.mark.parametrize("jetpack", GENERATIONS)
def test_power_modes_read_alike_from_text_and_facts(jetpack: str, tmp_path: Path) -> None:
    """Text and facts give the same numbers, names, masks and default."""
    tree, _ = GENERATIONS[jetpack]
    modes = power_modes(tree.nvpmodel())
    assert modes == power_modes(tree.facts(tmp_path))
    assert [(mode.name, mode.tpc_mask) for mode in modes] == list(tree.modes)
    assert [mode.number for mode in modes if mode.default] == [tree.default]
