"""Calibration data that cannot be used fails one model's rows, not the run."""

from __future__ import annotations

import pytest

from hil.errors import EngineBuildError, UserError
from hil.session.engines.provision import of_one_model


def test_a_mistake_in_calibration_data_belongs_to_the_engine() -> None:
    """A mistake in calibration data fails only the rows that need it, with its message."""
    with pytest.raises(EngineBuildError, match="holds NaN: remove it"), of_one_model():
        raise UserError("calibration data holds NaN: remove it")
