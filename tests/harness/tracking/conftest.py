"""A store of one's own."""

from __future__ import annotations

import pytest

from harness.settings import Settings, load_settings


@pytest.fixture
def settings(store: None) -> Settings:
    return load_settings()
