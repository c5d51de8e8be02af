"""Lines nobody waits for: a reader that does not read, one that is gone, none at all."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from node.ops.lines import DISCARDED, QUEUE_MAX_BYTES, Lines, LineStream


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    yield read, write
    for end in (read, write):
        try:
            os.close(end)
        except OSError:
            continue


def everything(read: int, size: int) -> bytes:
    found = b""
    while len(found) < size and (piece := os.read(read, 65_536)):
        found += piece
    return found


def test_lines_arrive_in_order(pipe: tuple[int, int]) -> None:
    lines = Lines(pipe[1])
    sent = "".join(f"line {number}\n" for number in range(1000))
    for line in sent.splitlines(keepends=True):
        lines.put(line)
    assert lines.flush(60)
    assert everything(pipe[0], len(sent)).decode() == sent
    assert not lines.dropped


def test_a_pipe_that_nobody_reads_costs_lines_and_tells_how_many(pipe: tuple[int, int]) -> None:
    lines = Lines(pipe[1], lambda count: f"{count} lost\n")
    line = "x" * 999 + "\n"
    for _ in range(3000):
        lines.put(line)
    assert not lines.flush(0.05), "it is still waiting"
    dropped = lines.dropped
    assert dropped >= 3000 - (QUEUE_MAX_BYTES + 200_000) // len(line)
    kept = (3000 - dropped) * len(line)
    found = everything(pipe[0], kept)
    lines.put("after\n")
    while not found.endswith(b"after\n"):
        found += os.read(pipe[0], 65_536)
    assert found.decode().count(line) == 3000 - dropped
    assert sum(map(int, re.findall(r"(\d+) lost\n", found.decode()))) == dropped, "in one notice or several"


def test_a_reader_that_is_gone_is_no_error(pipe: tuple[int, int]) -> None:
    lines = Lines(pipe[1])
    os.close(pipe[0])
    for _ in range(3):
        lines.put("x\n")
        assert lines.flush(60)
    assert lines.dropped == 3


def test_a_closed_descriptor_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    os.close(write)
    lines = Lines(write)
    lines.put("x\n")
    assert lines.flush(60)
    assert lines.dropped == 1


def test_a_descriptor_that_does_not_block_is_waited_for(pipe: tuple[int, int]) -> None:
    os.set_blocking(pipe[1], False)
    lines = Lines(pipe[1])
    sent = "y" * 999 + "\n"
    for _ in range(400):
        lines.put(sent)
    assert everything(pipe[0], 400_000).decode() == sent * 400
    assert not lines.dropped


def test_no_descriptor_at_all() -> None:
    lines = Lines(DISCARDED)
    lines.put("x\n")
    assert lines.flush(60)
    assert not LineStream(lines).isatty()


def test_a_full_disk_is_no_error() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        lines = Lines(full)
        lines.put("x\n")
        assert lines.flush(60)
        assert lines.dropped == 1
    finally:
        os.close(full)


def test_a_thread_that_died_is_replaced(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    lines = Lines(pipe[1])
    ended: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", ended.append)

    def fail(_: bytes) -> None:
        raise SystemError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(lines, "_write", fail)
        lines.put("lost\n")
        assert lines._thread is not None
        lines._thread.join(60)
        assert len(ended) == 1
    lines.put("written\n")
    assert everything(pipe[0], 8) == b"written\n"
    assert lines.flush(60)


def test_without_a_thread_the_end_writes_what_the_reader_takes(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the system refused threads, a start that failed for it printed nothing."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    lines = Lines(pipe[1])
    lines.put("error\n")
    lines.put("hint\n")
    assert lines.flush(60)
    assert os.read(pipe[0], 100) == b"error\nhint\n"
    lines.put("x" * 900_000 + "\n")
    os.set_blocking(pipe[1], False)
    with suppress(BlockingIOError):
        while os.write(pipe[1], bytes(4_096)):
            pass
    os.set_blocking(pipe[1], True)
    assert not lines.flush(0.05), "nobody reads"


def test_text_is_written_in_whole_lines(tmp_path: Path) -> None:
    target = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
    lines = Lines(target)
    stream = LineStream(lines)
    for piece in ("a", "b\nc", "", "\n", "d \udc80 \N{SNOWMAN}\n", "unfinished"):
        stream.write(piece)
    assert lines.flush(60)
    os.close(target)
    assert (tmp_path / "out").read_text() == "ab\nc\nd \\udc80 \N{SNOWMAN}\n"
