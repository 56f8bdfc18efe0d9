"""A precision that a GPU or a release of TensorRT lacks is refused with the reason, unless that is unknown."""

from __future__ import annotations

import pytest

from hil.agent.runtimes.tensorrt.precision import KNOWN, LEAST_SM
from hil.config.fields import PRECISIONS
from hil.jetson import MODULES, RELEASES
from hil.jetson.supported_precisions import NEEDS, refusal, refusal_of_module

NAMED = {module.slug: module for module in MODULES}


def test_every_precision_has_a_row_and_a_source() -> None:
    """Config, agent and table have the same precisions, and the agent's oldest capabilities are the table's."""
    assert tuple(NEEDS) == PRECISIONS == KNOWN
    assert all(need.source for need in NEEDS.values())
    assert all(NEEDS[precision].sm == sm for precision, sm in LEAST_SM.items())


@pytest.mark.parametrize(
    ("slug", "lacking"),
    [
        ("nano-4gb", {"tf32", "bf16", "int8", "fp8", "fp4", "int4"}),
        ("tx2-8gb", {"tf32", "bf16", "int8", "fp8", "fp4", "int4"}),
        ("xavier-nx-8gb", {"tf32", "bf16", "fp8", "fp4", "int4"}),
        ("orin-nano-8gb", {"fp8", "fp4"}),
        ("agx-orin-64gb", {"fp8", "fp4"}),
        ("thor-t5000", set()),
    ],
)
def test_what_a_module_lacks(slug: str, lacking: set[str]) -> None:
    """A precision that a module's GPU lacks is refused with the module's name."""
    found = {precision: refusal_of_module(precision, NAMED[slug]) for precision in PRECISIONS}
    assert {precision for precision, why in found.items() if why} == lacking
    assert all(NAMED[slug].name in why for why in found.values() if why)


def test_what_a_jetpack_release_lacks() -> None:
    """A JetPack release refuses the precisions that its TensorRT lacks; the first release for Thor refuses none."""
    orin, thor = NAMED["agx-orin-64gb"], NAMED["thor-t5000"]
    by_name = {release.jetpack: release for release in RELEASES}
    assert "TensorRT 10.0" in refusal_of_module("bf16", orin, by_name["6.0"])
    assert "TensorRT 10.0" in refusal_of_module("int4", orin, by_name["5.1.2"])
    assert not refusal_of_module("bf16", orin, by_name["6.2"])
    assert not any(refusal_of_module(precision, thor, by_name["7.0"]) for precision in PRECISIONS)
    assert "10.8" in refusal("fp4", "11.0", "10.3.0")


def test_what_is_unknown_is_no_reason() -> None:
    """An unknown capability or release refuses no precision; an unknown precision is refused."""
    assert not any(refusal(precision, None, None) for precision in PRECISIONS)
    assert not refusal("fp8", "N/A", "dev build")
    assert refusal("fp6", None, None)
