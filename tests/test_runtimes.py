from __future__ import annotations

import pytest

from hil.agent.runtimes import TABLE, runtime
from hil.config.fields import PRECISIONS
from hil.config.spec import TargetSpec
from hil.errors import Unsupported
from hil.runtimes import RUNTIMES, runtime_record


def test_agent_config_and_records_have_the_same_runtimes() -> None:
    """Agent, config and the host's records have the same runtimes."""
    options = TargetSpec.model_json_schema()["properties"]["runtime"]["enum"]
    assert sorted(TABLE) == sorted(RUNTIMES) == sorted(options)


@pytest.mark.parametrize("name", RUNTIMES)
def test_record_and_class_are_equal(name: str) -> None:
    """The agent cannot import the host's records, so its classes repeat their facts, which must be equal."""
    record, driven = runtime_record(name), runtime(name)
    assert (record.name, record.module) == (driven.name, driven.module)
    assert (record.uses_gpu, record.compiles) == (driven.uses_gpu, driven.compiles)
    assert tuple(record.precisions) == driven.precisions
    assert set(record.precisions) <= set(PRECISIONS)


def test_unknown_runtime_is_refused_in_one_line() -> None:
    """An unknown runtime, such as one in a newer version's report, is refused with the known names."""
    with pytest.raises(Unsupported, match="runtime 'other' is not supported by this version: use one of onnxruntime"):
        runtime_record("other")
