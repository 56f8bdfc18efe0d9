"""A fresh project for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.plugins.project import Project

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A healthy project; the test breaks it."""
    return Project.make(tmp_path)
