"""Many sessions over kill -9: each comes back byte for byte and goes on; and an exported file on another machine."""

from __future__ import annotations

import json
import random
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.crash.test_sessions_kill import deployed, look, make
from tests.daemon import Daemon
from tests.rpc import Rpc, RpcFailed

S = "zvmd_session_"


@pytest.mark.full
@pytest.mark.timeout(600)
def test_a_hundred_sessions_are_restored_and_go_on(tmp_path: Path) -> None:
    """`tests.crash.test_sessions_kill` does the like with twenty. A second kill, and the same steps give the same."""
    restored(tmp_path, 100)


def restored(tmp_path: Path, count: int) -> None:
    """Make so many sessions, large ones among them; kill, look, go on, kill, go on as before, run to the end."""
    daemon = Daemon(tmp_path / "data", environment={"ZVMD_SESSIONS__FILE_BYTES": "4096"})
    try:
        daemon.start()
        rpc = daemon.rpc()
        contract, transaction = deployed(rpc)
        sessions = [make(rpc, contract, transaction, number) for number in range(count - 2)]
        large = "0x5f" + "5b" * 5_000 + "60010160015600"
        sessions += [rpc.call(S + "create", {"code": large, "gas": 10**6})["id"] for _ in range(2)]
        for session in sessions[-2:]:
            rpc.call(S + "step", session, 77)
        assert rpc.call("zvmd_status")["sessions"]["files"] == 2
        listed = rpc.call(S + "list")
        before = [look(rpc, session) for session in sessions]
        daemon.kill()

        daemon.start()
        rpc = daemon.rpc()
        assert rpc.call(S + "list") == listed
        assert [look(rpc, session) for session in sessions] == before
        trail = [[rpc.call(S + "step", session, 3), look(rpc, session)] for session in sessions]
        back = [rpc.call(S + "step_back", session, 3) for session in sessions]
        daemon.kill()

        daemon.start()
        rpc = daemon.rpc()
        assert [[rpc.call(S + "step", session, 3), look(rpc, session)] for session in sessions] == trail
        assert [rpc.call(S + "step_back", session, 3) for session in sessions] == back
        ends = [rpc.call(S + "run", session, 100_000)["step"] for session in sessions]
        assert all(end >= state[0]["step"] for end, state in zip(ends, before, strict=True))
    finally:
        daemon.close()


@pytest.mark.parametrize("kills", [1, pytest.param(12, marks=[pytest.mark.full, pytest.mark.timeout(600)])])
def test_a_kill_during_a_command_leaves_the_session_before_or_after_it(tmp_path: Path, kills: int) -> None:
    """Moves and names of three sessions by three clients; the daemon is killed meanwhile."""
    daemon = Daemon(tmp_path / "data", environment={"ZVMD_SESSIONS__FILE_BYTES": "4096"})
    code = {"code": "0x5f" + "5b" * 3_000 + "80600101809055600156", "gas": 10**9}
    try:
        daemon.start()
        sessions = [daemon.rpc().call(S + "create", code)["id"] for _ in range(3)]
        shown = dict.fromkeys(sessions, 0)
        names = dict.fromkeys(sessions, "")
        for turn in range(kills):
            asked = {session: list[Any]() for session in sessions}
            threads = [
                threading.Thread(target=_drive, args=(daemon.rpc(), session, turn, shown, names, asked[session]))
                for session in sessions
            ]
            for thread in threads:
                thread.start()
            threads[0].join(0.3 + turn / 10)
            daemon.kill()
            for thread in threads:
                thread.join()
            daemon.start()
            rpc = daemon.rpc()
            lines = {line["id"]: line for line in rpc.call(S + "list")}
            for session in sessions:
                step, name = asked[session]
                state = rpc.call(S + "state", session)
                assert state["step"] in (shown[session], step)
                assert lines[session]["name"] in (names[session], name)
                assert lines[session]["position"] == state["step"]
                shown[session], names[session] = state["step"], lines[session]["name"]
        again = daemon.rpc().call(S + "create", code)["id"]
        for session in sessions:  # seek(i) is a fresh run to i
            rpc.call(S + "seek", again, shown[session])
            fresh, old = (rpc.call(S + "state", number) for number in (again, session))
            assert fresh == old
    finally:
        daemon.close()


def _drive(rpc: Rpc, session: int, turn: int, shown: dict[int, int], names: dict[int, str], asked: list[Any]) -> None:
    """Move and rename until the daemon dies; what was answered last, and what was asked last, is written down."""
    chance = random.Random(turn * 1_000 + session)
    step, name = shown[session], names[session]
    while True:
        asked[:] = [step, name]
        try:
            if chance.random() < 0.7:
                step = chance.randrange(20_000)
                asked[:] = [step, name]
                rpc.call(S + "seek", session, step)
                shown[session] = step
            else:
                name = f"{turn} {chance.random()}"
                asked[:] = [step, name]
                rpc.call(S + "rename", session, name)
                names[session] = name
        except RpcFailed:
            raise
        except Exception:
            return


def test_an_exported_file_gives_the_same_state_and_trace_elsewhere(tmp_path: Path) -> None:
    here, there = Daemon(tmp_path / "here"), Daemon(tmp_path / "there", "--chain-id", "4242")
    try:
        here.start()
        there.start()
        one, two = here.rpc(), there.rpc()
        contract, transaction = deployed(one)
        two.call("anvil_mine", "0x3")
        for number in range(5):
            session = make(one, contract, transaction, number)
            copy = two.call(S + "import", one.call(S + "export", session))["id"]
            assert look(two, copy) == look(one, session)
            traces = [rpc.call(S + "trace", found, 0, 2_000) for rpc, found in ((one, session), (two, copy))]
            assert traces[0] == traces[1]
            assert json.loads(traces[0]["lines"][0])["pc"] == 0
            trees = [rpc.call(S + "call_tree", found) for rpc, found in ((one, session), (two, copy))]
            assert trees[0] == trees[1]
            ends = [rpc.call(S + "run", found, 5_000) for rpc, found in ((one, session), (two, copy))]
            assert ends[0] == ends[1]
            assert look(two, copy) == look(one, session)
            assert two.call(S + "list", {"tag": "kill"})[0]["id"] == copy
    finally:
        here.close()
        there.close()
