"""The fuzzer's corpus and some mutations of it; `http_fuzz` runs for as long as wanted."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.effort import tries
from tests.unit.gateway.http_fuzz import Stack, check, corpus, fuzz


def test_splitting_changes_nothing() -> None:
    inputs = len(corpus()) + tries(60, 3_000)
    count, kinds = asyncio.run(fuzz(random.Random(1), lambda count: count >= inputs))
    assert count == inputs
    assert kinds > 50


def test_the_fuzzer_sees_a_parser_that_depends_on_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its oracle is tried on a parser that loses an empty line at the end of a segment."""
    from node.gateway.http1 import RequestParser

    receive = RequestParser.receive
    monkeypatch.setattr(RequestParser, "receive", lambda self, data: receive(self, data.removesuffix(b"\r\n")))

    async def run() -> None:
        stack = Stack()
        try:
            await check(stack, random.Random(1), b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        finally:
            stack.service.close()

    with pytest.raises(AssertionError, match="split as"):
        asyncio.run(run())
