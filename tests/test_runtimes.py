from __future__ import annotations

import pytest

from hil.agent.runtimes import TABLE, runtime
from hil.config.fields import PRECISIONS
from hil.config.spec import TargetSpec
from hil.errors import Unsupported
from hil.runtimes import RUNTIMES, runtime_record


def test_agent_config_and_records_name_the_same_runtimes() -> None:
    """A runtime that one of the three lacks could be asked for and never driven, or driven and never asked for."""
    options = TargetSpec.model_json_schema()["properties"]["runtime"]["enum"]
    assert sorted(TABLE) == sorted(RUNTIMES) == sorted(options)


@pytest.mark.parametrize("name", RUNTIMES)
def test_record_and_class_state_the_same(name: str) -> None:
    """The agent cannot import the host's records, so its classes repeat what both decide by."""
    record, driven = runtime_record(name), runtime(name)
    assert (record.name, record.module) == (driven.name, driven.module)
    assert (record.uses_gpu, record.compiles) == (driven.uses_gpu, driven.compiles)
    assert tuple(record.precisions) == driven.precisions
    assert set(record.precisions) <= set(PRECISIONS)


def test_unknown_runtime_is_refused_in_one_line() -> None:
    """A report of a newer version may name a runtime that this one does not drive."""
    with pytest.raises(Unsupported, match="runtime 'other' is not driven by this version: use one of onnxruntime"):
        runtime_record("other")
