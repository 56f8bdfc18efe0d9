from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.int8_audit.third_party import ThirdParty, outcome


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        ({}, (False, False)),
        ({"int8.ranges": "clipping removes 35 % of the energy of 'relu_1'"}, (True, True)),
        ({"int8.ranges": "clipping removes 35 % of the energy of 'relu_11'"}, (True, False)),
        ({"int8.cache": "'relu_1' has no range"}, (True, False)),
    ],
)
def test_a_wrong_scale_is_named_by_its_own_tensor_alone(reasons: dict[str, str], expected: tuple[bool, bool]) -> None:
    """A wrong scale counts as named only if a check of ranges names exactly the tensor with this scale."""
    project = ThirdParty(Path(), "turned", "minmax", {"x": np.zeros(1)}, facts={"tensor": "relu_1"})
    assert outcome(project, reasons) == expected
