"""Finding sessions, keeping them, templates, and the eight original operations: over RPC, the SDK and the commands."""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import zvmd
from node.cli.main import main
from tests.conftest import Node
from tests.rpc import Rpc, RpcFailed

ADD = "0x6001600201600055600054600052602060" + "00f3"
COUNT = "0x5f5b60010180600052600156"
S = "zvmd_session_"
Session = Callable[..., str]
_ids = itertools.count()


@pytest.fixture(params=["quic", "http"])
def session(
    node: Node, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Session:
    """``zvmd session`` as the shell would run it, in this process; its output, if its status is ``status``."""
    if node.daemon is None:
        pytest.skip("an outside node has no data directory")
    link = ["--data-dir", str(node.daemon.data_dir)] + (["--http"] if request.param == "http" else [])
    monkeypatch.setenv("COLUMNS", "200")

    def run(*command: object, status: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["zvmd", "session", *map(str, command), *link])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        output, errors = capsys.readouterr()
        assert (end.value.code or 0) == status, errors
        return output.strip() if status == 0 else errors

    return run


def deployed(rpc: Rpc) -> str:
    """A contract that stores its first word."""
    account = rpc.call("eth_accounts")[0]
    code = "0x66" + "5f355f555f5400" + "5f5260076019f3"
    receipt = rpc.call("eth_getTransactionReceipt", rpc.call("eth_sendTransaction", {"from": account, "data": code}))
    assert rpc.call("eth_getCode", receipt["contractAddress"], "latest") == "0x5f355f555f5400"
    return str(receipt["contractAddress"])


def wait_for_the_index(rpc: Rpc) -> None:
    """Return when its job has begun and ended once more."""

    def runs() -> int:
        return next(int(job["runs"]) for job in rpc.call("zvmd_status")["jobs"] if job["name"] == "index")

    begun = runs()
    while runs() < begun + 2:
        time.sleep(0.05)


def test_search(rpc: Rpc) -> None:
    mark = f"search {next(_ids)}"
    contract = deployed(rpc)
    call = rpc.call("eth_sendTransaction", {"from": rpc.call("eth_accounts")[0], "to": contract, "data": "0x07"})
    programs: list[dict[str, Any]] = [
        {"code": ADD, "fork": "cancun"},
        {"code": COUNT, "gas": 900},
        {"to": contract},
        {"transaction": call},
        {"code": ADD},
    ]
    made = [
        rpc.call(S + "create", {**program, "name": f"{mark} N{number}", "tags": [mark, f"t{number % 2}"]})["id"]
        for number, program in enumerate(programs)
    ]
    rpc.call(S + "run", made[1])
    rpc.call(S + "run", made[4])
    rpc.call(S + "step", made[0], 3)

    def find(**search: Any) -> list[int]:
        lines = rpc.call(S + "list", {"tag": mark, **search})
        return [made.index(line["id"]) for line in lines]

    for turn in range(2):
        assert find() == [4, 3, 2, 1, 0]
        assert find(name=mark.upper() + " n3") == [3]
        assert find(tag="t1", name=mark) == [3, 1]
        assert find(contract=contract) == [3, 2]
        assert find(transaction=call) == [3]
        assert find(fork="cancun") == [0]
        assert find(halt="out_of_gas") == [1]
        assert find(halt="none") == [3, 2, 0]
        assert find(stepsFrom=3, stepsTo=3) == [0]
        assert find(usedFrom=int(time.time()) + 1000) == []
        assert find(limit=2) == [4, 3]
        assert find(limit=2, cursor=made[3]) == [2, 1]
        assert find(limit=2, cursor=made[1]) == [0]
        line = rpc.call(S + "list", {"contract": contract, "tag": mark, "transaction": call})[0]
        same = rpc.call(S + "list", {"codeHash": line["codeHash"], "tag": mark})
        assert [made.index(found["id"]) for found in same] == [3, 2]
        if not turn:
            wait_for_the_index(rpc)
    rpc.call(S + "pin", made[2], True)
    assert find(pinned=True) == [2]
    rpc.call(S + "close", made[3])
    assert find(contract=contract) == [2]
    for bad in ({"contract": "0x12"}, {"nme": "x"}, {"limit": -1}):
        with pytest.raises(RpcFailed) as failure:
            rpc.call(S + "list", bad)
        assert failure.value.data["code"] == "session.program"


def test_templates_of_ones_own(rpc: Rpc, quic: zvmd.Node, tmp_path: Path) -> None:
    templates = zvmd.Templates(quic)
    begun = zvmd.Session.create(quic, code=ADD, calldata="0x11", gas=70_000)
    saved = templates.save(begun, "mine-1", "Mine", "Three.")
    assert (saved.expected["halt"], saved.expected["storage"]) == ("return", {"0x0": "0x3"})
    assert [entry.own for entry in templates if entry.name == "mine-1"] == [True]
    assert templates["mine-1"].json["calldata"] == "0x11"
    assert templates.begin("mine-1").run().halt.output == (3).to_bytes(32, "big")
    file = tmp_path / "mine-2.toml"
    text = 'name="mine-2"\ntitle="T"\nexplanation="E"\nassembly="PUSH 1 PUSH 2 ADD STOP"\n'
    text += '[expected]\nhalt="stop"\nstack=[3]'
    file.write_text(text)
    assert templates.save_file(file).name == "mine-2"
    file.write_text(text.replace("[3]", "[4]"))
    bad: list[dict[str, Any]] = [
        {"toml": file.read_text()},
        {"session": begun.id, "name": "arithmetic"},
        {"toml": "", "session": 1},
        {"session": begun.id, "name": "No"},
        {},
    ]
    for template in bad:
        with pytest.raises(RpcFailed) as failure:
            rpc.call(S + "template_save", template)
        assert failure.value.data["code"] == "session.template"
    with pytest.raises(RpcFailed, match="comes with the node"):
        rpc.call(S + "template_remove", "arithmetic")
    for name in ("mine-1", "mine-2"):
        templates.remove(name)
    with pytest.raises(RpcFailed, match="no template"):
        rpc.call(S + "template_show", "mine-1")


STATE = {
    "pc", "opcode", "gasLeft", "depth", "stack", "memory", "storage", "transientStorage", "logs", "returnData",
    "callFrames",
}  # fmt: skip


@pytest.mark.parametrize("is_engine", [False, True], ids=["front end's names", "engine's names"])
def test_the_eight_original_operations(rpc: Rpc, is_engine: bool) -> None:
    def ask(name: str, engine: str, *params: Any) -> Any:
        return rpc.call(f"zvmd_{engine if is_engine else name}", *params)

    session = ask("create_session", "createSession")
    assert ask("set_active_session", "setActiveSession", session) is True
    assert rpc.call("zvmd_status")["sessions"]["active"] == session
    loaded = ask("load_bytecode", "loadBytecodeForSession", session, ADD)
    assert set(loaded) >= STATE
    assert loaded == ask("get_evm_state", "getSessionState", session)
    assert (loaded["pc"], loaded["opcode"], loaded["stack"], loaded["step"]) == (0, "PUSH1", [], 0)
    stepped = ask("step_evm", "stepSession", session)
    assert (stepped["pc"], stepped["stack"]) == (2, ["0x1"])
    assert ask("reset_evm", "resetSession", session) == loaded
    assert ask("toggle_run_pause", "toggleRunPauseSession", session) is True
    deadline = time.monotonic() + 30
    while (state := ask("get_evm_state", "getSessionState", session))["halt"] is None:
        assert time.monotonic() < deadline
    assert state["halt"]["reason"] == "return"
    assert ask("toggle_run_pause", "toggleRunPauseSession", session) is False
    assert ask("close_session", "closeSession", session) is True
    assert ask("close_session", "closeSession", session) is False


def test_a_run_in_the_background_is_seen_and_paused(rpc: Rpc) -> None:
    session = rpc.call(S + "create", {"code": COUNT, "gas": 2**35})["id"]
    assert rpc.call("zvmd_toggle_run_pause", session)
    seen: set[int] = set()
    deadline = time.monotonic() + 60
    while len(seen) < 3 and time.monotonic() < deadline:
        seen.add(rpc.call("zvmd_get_evm_state", session)["step"])
    assert len(seen) == 3
    assert not rpc.call("zvmd_toggle_run_pause", session)
    paused = rpc.call("zvmd_get_evm_state", session)
    assert paused["halt"] is None
    rpc.call("zvmd_step_evm", session)
    assert rpc.call("zvmd_get_evm_state", session)["step"] == paused["step"] + 1
    rpc.call(S + "close", session)


def test_nothing_is_cut(rpc: Rpc) -> None:
    """250,000 bytes of memory, 2,000 slots: page by page all of it."""
    code = "0x5f" + "5b" + "80600101" + "809155" + "6107d081106001" + "57" + "60ff6203d08f5300"
    session = rpc.call(S + "create", {"code": code, "gas": 10**9})["id"]
    assert rpc.call(S + "run", session)["halt"]["reason"] == "stop"
    slots: dict[str, str] = {}
    while True:
        state = rpc.call(S + "state", session, {"storage": {"offset": len(slots), "limit": 700}})
        slots |= state["storage"]
        assert state["pages"]["storage"]["count"] == len(state["storage"])
        if len(slots) == state["pages"]["storage"]["total"]:
            break
    assert len(slots) == 2_000
    memory = ""
    while len(memory) < 2 * 250_016:
        page = rpc.call(S + "state", session, {"memory": {"offset": len(memory) // 2, "limit": 100_000}})["memory"]
        memory += page[2:]
    assert bytes.fromhex(memory) == bytes(249_999) + b"\xff" + bytes(16)
    rpc.call(S + "close", session)


def test_every_session_command(session: Session, tmp_path: Path, rpc: Rpc) -> None:
    contract = deployed(rpc)
    number = session("new", "--code", ADD, "--name", "by hand", "--fork", "cancun", "--gas", "90000")
    assert session("step", number).startswith("step 1  pc 2  PUSH1")
    assert session("step", number, 3).startswith("step 4  pc 7  SSTORE")
    assert session("back", number, 2).startswith("step 2  pc 4  ADD")
    assert session("over", number).startswith("step 3")
    assert session("break", number, "opcode", "SLOAD") == "1"
    assert json.loads(session("break", number))[0]["opcode"] == "SLOAD"
    assert session("run", number).endswith("(breakpoint 1)")
    assert session("break", number, "--remove", "1") == ""
    assert "halted: return" in session("out", number)
    assert session("reverse", number).startswith("step 0")
    assert session("seek", number, 5).startswith("step 5  pc 8")
    assert json.loads(session("state", number, "--json"))["storage"] == {"0x0": "0x3"}
    assert "0x3" in session("state", number)
    assert session("edit", number, "storage", "--index", "0", "--value", "0x2a").startswith("step 5")
    assert "halted: return" in session("run", number)
    assert f"{0x2A:064x}" in session("trace", number).splitlines()[-1]
    assert len(session("trace", number, "--start", 2, "--count", 3).splitlines()) == 3
    assert session("branches", number).splitlines() == ["0  as loaded", "* 1  from 0 at step 5: storage at 5"]
    assert "return" in session("calls", number)
    assert session("checkout", number, 0, 5).startswith("step 5  pc 8")
    assert session("pause", number) == ""
    copy = session("save", number, "a copy")
    assert session("reset", number).startswith("step 0")
    assert session("load", number, copy).startswith("step 5")
    assert session("load", number, "--code", "0x600700").startswith("step 0  pc 0  PUSH1")
    assert "error[session.program]" in session("load", number, "--code", "0x6", status=1)
    session("export", copy, tmp_path / "file")
    imported = session("import", tmp_path / "file")
    assert session("diff", copy, imported).startswith("equal")
    session("rename", imported, "--name", "imported", "--tag", "x", "--tag", "y")
    call = session("new", "--to", contract, "--block", "latest", "--name", "a call")
    assert "halted: stop" in session("run", call)
    lines = json.loads(session("list", "--contract", contract, "--halt", "stop", "--json"))
    assert [line["id"] for line in lines] == [int(call)]
    assert "imported" in session("list", "--tag", "y", "--name", "MPORT")
    session("pin", call)
    assert json.loads(session("list", "--pinned", "--contract", contract, "--json"))[0]["pinned"]
    session("pin", call, "--off")
    assert json.loads(session("list", "--pinned", "--contract", contract, "--json")) == []
    assert "erc20-transfer" in session("template", "list")
    assert "DELEGATECALL" in session("template", "show", "proxy")
    saved = session("template", "save", copy, "kept-program", "--title", "Kept")
    assert saved.startswith("kept-program: ends with return")
    other = session("new", "--template", "kept-program")
    assert "halted: return" in session("run", other)
    session("template", "remove", "kept-program")
    assert "no template" in session("template", "show", "kept-program", status=1)
    for each in (number, copy, imported, call, other):
        session("close", each)
    assert "no session" in session("step", number, status=1)
