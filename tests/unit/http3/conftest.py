"""Tests of the listener run on both QUIC libraries."""

from __future__ import annotations

import pytest

from tests.unit.wire.listening import LIBRARIES


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> str:
    """Name of the listener's QUIC library."""
    name: str = request.param
    return name
