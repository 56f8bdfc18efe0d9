"""Strategies for arrays of every type that hil can feed, ranks 0 to 6, and zero-length dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hil.agent.protocol.arrays import dtype_of
from hil.agent.protocol.wire import BITS, ITEM_SIZES
from hil.dtypes import from_file

Array = npt.NDArray[Any]

NAMES = st.sampled_from(sorted(ITEM_SIZES))
SHAPES = hnp.array_shapes(min_dims=0, max_dims=6, min_side=0, max_side=3)


def arrays_of(name: str) -> st.SearchStrategy[Array]:
    """Return a strategy for arrays of the type ``name``; for a type that numpy lacks, of any bits."""
    if name not in BITS:
        return hnp.arrays(np.dtype(name), SHAPES)
    return hnp.arrays(np.dtype(BITS[name]), SHAPES).map(lambda bits: from_file(bits.view(dtype_of(name))))


ARRAYS = NAMES.flatmap(arrays_of)
