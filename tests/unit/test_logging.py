"""Logs: JSON off a terminal, one formatter for structlog and the standard library, levels, limits for each kind."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator

import pytest
import structlog

from node.ops import logging as ours
from node.ops.logging import BURST, KINDS_MAX, configure_logging, log_status, log_thread_ends


class Kept:
    """A sink that keeps what it is given."""

    dropped = 3

    def __init__(self) -> None:
        self.text = ""

    def put(self, text: str) -> None:
        self.text += text

    def getvalue(self) -> str:
        return self.text


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, hook = root.handlers, root.level, threading.excepthook
    yield
    root.handlers, root.level, threading.excepthook = handlers, level, hook
    logging.captureWarnings(False)
    structlog.reset_defaults()


def test_json_lines_from_both_sources() -> None:
    stream = Kept()
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
    stream = Kept()
    configure_logging("debug", "json", stream)
    try:
        raise ValueError("broken")
    except ValueError:
        structlog.get_logger("zvmd").exception("job failed")
    (line,) = stream.getvalue().splitlines()
    assert "ValueError: broken" in json.loads(line)["exception"]


def test_pretty_tracebacks_show_no_local_variables() -> None:
    stream = Kept()
    configure_logging("info", "pretty", stream)
    secret = "0x" + "5e" * 32
    try:
        raise ValueError(f"length {len(secret)}")
    except ValueError:
        structlog.get_logger("zvmd").exception("job failed")
    assert "length 66" in stream.getvalue()
    assert secret not in stream.getvalue()


def test_pretty_is_no_json() -> None:
    stream = Kept()
    configure_logging("info", "pretty", stream)
    structlog.get_logger("zvmd").info("hello", port=8545)
    assert "port=8545" in stream.getvalue()


def test_a_kind_that_comes_often_is_limited_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    sink = Kept()
    now = 100.0
    handler = configure_logging("info", "json", sink)
    handler._clock = lambda: now
    log = structlog.get_logger("wire")
    for number in range(100):
        log.warning("refused", number=number)
        log.error("another kind") if number < 5 else None
        log.error("job failed", job="checkpoint" if number == 50 else "index")
        logging.getLogger("websockets.server").warning(f"invalid request {number}")
    lines = [json.loads(line) for line in sink.text.splitlines()]
    kinds = [line["event"].split()[0] for line in lines]
    assert [kinds.count(kind) for kind in ("refused", "another", "invalid", "job")] == [BURST, 5, BURST, BURST + 1]
    assert "checkpoint" in [line.get("job") for line in lines]
    sink.text, now = "", now + 1.0
    log.warning("refused")
    log.warning("refused")
    logging.getLogger("x").warning("others are not limited")
    lines = [json.loads(line) for line in sink.text.splitlines()]
    assert [line["event"] for line in lines] == ["refused", "others are not limited"]
    assert lines[0]["suppressed"] == 100 - BURST
    assert "suppressed" not in lines[1]
    assert handler.status() == ours.LogStatus(3 * BURST + 6 + 2, 3 * (100 - BURST), 3)
    assert log_status() == {"lines": 68, "suppressed": 240, "dropped": 3}


def test_what_precedes_an_end_is_never_left_out() -> None:
    sink = Kept()
    configure_logging("info", "json", sink)
    for _ in range(3 * BURST):
        structlog.get_logger("zvmd").critical("panic")
    assert sink.text.count("panic") == 3 * BURST


def test_kinds_are_not_counted_without_end() -> None:
    sink = Kept()
    handler = configure_logging("info", "json", sink)
    for number in range(2 * KINDS_MAX):
        structlog.get_logger("zvmd").warning(f"kind {number}")
    assert len(handler._kinds) <= KINDS_MAX + 1


def test_a_record_that_cannot_be_formatted_is_told() -> None:
    sink = Kept()
    configure_logging("info", "json", sink)
    logging.getLogger("somebody").warning("%d", "no number")
    assert "a log record of somebody cannot be formatted" in sink.text


def test_a_thread_that_ends_by_an_exception_is_in_the_log() -> None:
    sink = Kept()
    configure_logging("info", "json", sink)
    log_thread_ends()

    def fail() -> None:
        raise ValueError("a bug")

    thread = threading.Thread(target=fail, name="worker-7")
    thread.start()
    thread.join()
    (line,) = (json.loads(line) for line in sink.text.splitlines())
    assert (line["event"], line["thread"]) == ("thread ended", "worker-7")
    assert "ValueError: a bug" in line["exception"]


@pytest.mark.parametrize("form", ["pretty", "json"])
def test_nothing_in_a_line_steers_a_terminal(form: ours.Format) -> None:
    sink = Kept()
    configure_logging("info", form, sink)
    hostile = "\x1b]0;title\x07\x9b2J\u202e\r\x7f"
    structlog.get_logger("zvmd").error(hostile, reason=hostile, raw=hostile.encode(), more={1: hostile})
    logging.getLogger("websockets.server").warning(hostile)
    try:
        raise ValueError(hostile)
    except ValueError:
        structlog.get_logger("zvmd").exception("failed")
    assert not set("\x1b\x07\x9b\u202e\r\x7f") & set(sink.text)
    assert "title" in sink.text
