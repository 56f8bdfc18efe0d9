"""A project folder for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.datasets.project import Project

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A model ``m`` with input ``x`` of ``[batch, 2]`` float32, without data."""
    return Project(tmp_path)
