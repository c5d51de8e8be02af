"""Simulations recover with checkpoints in between, and say nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog

from storage import replay

CHECKPOINT_BLOCKS = 3
"""Recovery writes a checkpoint after so many blocks, which otherwise takes a thousand."""


@pytest.fixture(autouse=True)
def small_and_quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(replay, "CHECKPOINT_BLOCKS", CHECKPOINT_BLOCKS)
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)
