"""Endless work that fails is begun again, and that is counted."""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from node.ops.restarts import Restarts


def test_work_that_fails_or_ends_is_done_again_and_counted() -> None:
    begun: list[int] = []

    async def work() -> None:
        begun.append(len(begun))
        if len(begun) == 1:
            raise ValueError("a bug")
        if len(begun) == 2:
            return
        await asyncio.Event().wait()

    async def run() -> dict[str, int]:
        restarts = Restarts(pause_seconds=0)
        restarts.watch("others", lambda: 7)
        restarts.watch("never", lambda: 0)
        task = asyncio.create_task(restarts.keep("sealing", work))
        while len(begun) < 3:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        return restarts.status()

    with capture_logs() as logs:
        assert asyncio.run(run()) == {"others": 7, "sealing": 2}
    assert [line["event"] for line in logs] == ["restarted"] * 2
    assert isinstance(logs[0]["exc_info"], ValueError)
