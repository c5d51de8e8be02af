"""Several watchers follow one driver over QUIC and WebSocket, and go on after kill -9 with the last cursor they saw."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
import websockets

import zvmd
from tests.daemon import Daemon, clean_environment
from tests.paths import REPO
from zvmd.results import SessionChange

PROGRAM = "0x5f5b60010180600052600156"
"""Counts up in memory."""
WRITES = "0x5f5b6001018080" + "60051b" + "610fff16" + "52600156"
"""Counts up in 128 words of memory, one after the other, in 12 steps each."""
TOGETHER = 4
COMMANDS = 400


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path_factory.mktemp("watching") / "data")
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.close()


def connect(daemon: Daemon, token: str | None = None) -> zvmd.Node:
    return zvmd.Node(f"quic://127.0.0.1:{daemon.quic_port}", data_dir=daemon.data_dir, token=token)


class Watching:
    """One guest that knows a share token only."""

    def __init__(self, daemon: Daemon, token: str, cursor: int | None = None) -> None:
        self.node = connect(daemon, token)
        self.events = zvmd.Session(self.node, token).watch(cursor)
        self.seen: list[SessionChange] = []

    def take(self, count: int) -> list[SessionChange]:
        found = list(islice(self.events, count))
        self.seen += found
        return found


def test_watchers_follow_one_driver_over_a_kill(daemon: Daemon) -> None:
    with connect(daemon) as node:
        session = zvmd.Session.create(node, code=PROGRAM, gas=1_000_000)
        token, driving = session.share("watch", 600, "everybody"), session.share("drive", 600, "ann")
        watchers = [Watching(daemon, token) for _ in range(TOGETHER)]
        assert {w.take(1)[0].position.step for w in watchers} == {0}
        with connect(daemon, driving) as guest:
            driver = zvmd.Session(guest, driving)
            driver.step(9)
            driver.add_breakpoint("pc", pc=8)
            driver.run()
            driver.step_back(2)
        for watcher in watchers:
            watcher.take(4)
        assert all(watcher.seen == watchers[0].seen for watcher in watchers)
        seen = watchers[0].seen[1:]
        assert [e.command for e in seen] == ["step", "set_breakpoint", "run", "step_back"]
        assert {e.driver for e in seen} == {"share 2 (ann)"}
        assert seen[2].position.reason == "breakpoint"
        assert seen[0].changed.memory[0].after.endswith("01")
        check_refusals(daemon, session, watchers[0].node, token)
        listed = session.shares()
        daemon.kill()
    daemon.start()
    with connect(daemon) as node:
        session = zvmd.Session(node, session.id)
        assert session.shares() == listed, "tokens, roles and the wheel survive"
        again = [Watching(daemon, token, w.seen[-1].cursor) for w in watchers]
        session.drive(take_over=True)
        session.step(3)
        for watcher in again:
            events = watcher.take(2)
            assert [e.command for e in events] == ["drive", "step"], "nothing missed, nothing repeated"
            assert events[1].driver == "owner"
        session.unshare(1)
        with pytest.raises(zvmd.ZvmdError) as ended:
            again[0].take(1)
        assert ended.value.code == "session.token"
        with pytest.raises(zvmd.ZvmdError):
            connect(daemon, token)
        for watcher in (*watchers, *again):
            watcher.node.close()


def check_refusals(daemon: Daemon, session: zvmd.Session, guest: zvmd.Node, token: str) -> None:
    """What a watcher may not do, each with its error and a hint."""
    watching = zvmd.Session(guest, token)
    assert watching.state().step == session.state().step
    for call, code in (
        (lambda: watching.step(), "session.watch_only"),
        (lambda: watching.drive(take_over=True), "session.watch_only"),
        (lambda: watching.share(), "wire.guest"),
        (lambda: guest.rpc("eth_accounts"), "wire.guest"),
        (lambda: guest.rpc("zvmd_session_state", session.id), "wire.guest"),
        (lambda: list(guest.events("heads")), "wire.guest"),
        (lambda: session.step(), "session.driver"),
    ):
        with pytest.raises(zvmd.ZvmdError) as refused:
            call()  # type: ignore[no-untyped-call]
        assert (refused.value.code, bool(refused.value.hint)) == (code, True)
    with pytest.raises(zvmd.ZvmdError) as refused:
        connect(daemon, "zvs-1-1-" + "0" * 64)
    assert refused.value.code == "wire.token"


def test_watching_over_a_websocket(daemon: Daemon) -> None:
    rpc = daemon.rpc()
    session = rpc.call("zvmd_session_create", {"code": PROGRAM})["id"]
    token = rpc.call("zvmd_session_share", session, "watch", 600)["token"]

    async def follow() -> None:
        async with websockets.connect(f"ws://127.0.0.1:{daemon.http_port}/ws") as socket:

            async def ask(number: int, method: str, *params: object) -> dict[str, Any]:
                await socket.send(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}))
                return await told()

            async def told() -> dict[str, Any]:
                message: dict[str, Any] = json.loads(await socket.recv())
                return message

            refused = await ask(1, "zvmd_session_watch", "zvs-1-1-" + "0" * 64)
            assert refused["error"]["data"]["code"] == "session.token"
            name = (await ask(2, "zvmd_session_watch", token))["result"]
            first = await told()
            assert (first["method"], first["params"]["subscription"]) == ("zvmd_session_event", name)
            await asyncio.to_thread(rpc.call, "zvmd_session_step", session, 4)
            assert (await told())["params"]["result"]["position"]["step"] == 4
            await asyncio.to_thread(rpc.call, "zvmd_session_unshare", session, 1)
            assert (await told())["params"]["error"]["data"]["code"] == "session.token"
            soon_over = await asyncio.to_thread(rpc.call, "zvmd_session_share", session, "watch", 1)
            await ask(3, "zvmd_session_watch", soon_over["token"])
            assert (await told())["params"]["result"]["command"] == "watch"
            assert (await told())["params"]["error"]["data"]["code"] == "session.token_expired"
            again = (await ask(3, "zvmd_session_watch", session, 0))["result"]
            assert (await told())["params"]["result"]["cursor"] == 1
            assert (await ask(4, "zvmd_session_unwatch", again))["result"] is True

    asyncio.run(follow())


def test_a_stopped_watcher_is_dropped_and_resumes(daemon: Daemon) -> None:
    """Its process stands still while the driver goes on; then it is told, and watches again."""
    with connect(daemon) as node:
        session = zvmd.Session.create(node, code=WRITES, gas=1 << 36)
        token = session.share()
        command = [
            sys.executable, "-m", "node.cli.main", "session", "watch", token, "--json",
            "--data-dir", str(daemon.data_dir),
        ]  # fmt: skip
        watcher = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPO,
            env=clean_environment() | {"ZVMD_TOKEN": token},
        )  # fmt: skip
        try:
            assert watcher.stdout is not None
            first = json.loads(watcher.stdout.readline())
            assert first["command"] == "watch"
            os.kill(watcher.pid, signal.SIGSTOP)
            for _ in range(COMMANDS):
                session.step(1600)
            os.kill(watcher.pid, signal.SIGCONT)
            out, err = watcher.communicate(timeout=60)
        finally:
            watcher.kill()
        assert watcher.returncode == 1
        assert "dropped" in err
        cursors = [json.loads(line)["cursor"] for line in out.splitlines()]
        assert cursors == list(range(1, len(cursors) + 1)), "what it got has no gap"
        assert len(cursors) < COMMANDS
        [now] = islice(zvmd.Session(node, token).watch(cursors[-1]), 1)
        assert (now.cursor, now.missed) == (COMMANDS, COMMANDS - len(cursors))
