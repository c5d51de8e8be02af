"""Logs: JSON off a terminal, one formatter for structlog and the standard library, levels kept."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from node.ops.logging import configure_logging


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def test_json_lines_from_both_sources() -> None:
    stream = io.StringIO()
    configure_logging("info", "auto", stream)
    structlog.get_logger("zvmd.engine").info("block sealed", number=7, hash=b"\x01")
    logging.getLogger("somebody").warning("old style %s", "call")
    structlog.get_logger("zvmd").debug("not shown")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["block sealed", "old style call"]
    assert lines[0]["number"] == 7
    assert lines[0]["level"] == "info"
    assert lines[0]["logger"] == "zvmd.engine"
    assert lines[1]["level"] == "warning"


def test_an_exception_is_part_of_its_line() -> None:
    stream = io.StringIO()
    configure_logging("debug", "json", stream)
    try:
        raise ValueError("broken")
    except ValueError:
        structlog.get_logger("zvmd").exception("job failed")
    (line,) = stream.getvalue().splitlines()
    assert "ValueError: broken" in json.loads(line)["exception"]


def test_pretty_tracebacks_show_no_local_variables() -> None:
    stream = io.StringIO()
    configure_logging("info", "pretty", stream)
    secret = "0x" + "5e" * 32
    try:
        raise ValueError(f"length {len(secret)}")
    except ValueError:
        structlog.get_logger("zvmd").exception("job failed")
    assert "length 66" in stream.getvalue()
    assert secret not in stream.getvalue()


def test_pretty_is_no_json() -> None:
    stream = io.StringIO()
    configure_logging("info", "pretty", stream)
    structlog.get_logger("zvmd").info("hello", port=8545)
    assert "port=8545" in stream.getvalue()
