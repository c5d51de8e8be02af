"""Debug sessions from outside: every method over JSON-RPC, the handle of the SDK over QUIC, the commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import zvmd
from tests.commands import run_command
from tests.conftest import Node
from tests.rpc import Rpc, RpcFailed

ADD = "0x6001600201600055600054600052602060" + "00f3"
COUNT = "0x5f5b60010180600052600156"
S = "zvmd_session_"


def test_forth_and_back(rpc: Rpc) -> None:
    session = rpc.call(S + "create", {"code": ADD})["id"]
    seen = [rpc.call(S + "state", session)]
    while seen[-1]["halt"] is None:
        rpc.call(S + "step", session)
        seen.append(rpc.call(S + "state", session))
    assert {"pc", "opcode", "gasLeft", "depth", "stack", "memory", "storage", "logs", "returnData", "step"} <= set(
        seen[0]
    )
    assert seen[-1]["halt"]["reason"] == "return"
    assert seen[-1]["returnData"] == f"0x{3:064x}"
    for step in range(len(seen) - 2, -1, -1):
        rpc.call(S + "step_back", session)
        assert rpc.call(S + "state", session) == seen[step]
    rpc.call(S + "seek", session, 5)
    assert rpc.call(S + "state", session) == seen[5]
    assert rpc.call(S + "reset", session)["step"] == 0
    assert rpc.call(S + "step_over", session)["step"] == 1
    assert rpc.call(S + "step_out", session)["halt"]["success"]
    assert rpc.call(S + "close", session)


def test_breakpoints_edits_branches_and_pages(rpc: Rpc) -> None:
    session = rpc.call(S + "create", {"code": ADD, "name": "mine", "tags": ["t"]})["id"]
    point = rpc.call(S + "breakpoint_add", session, {"kind": "opcode", "opcode": "SSTORE"})
    assert point["id"] == 1
    there = rpc.call(S + "run", session)
    assert (there["reason"], there["breakpoints"]) == ("breakpoint", [1])
    assert [b["holds"] for b in rpc.call(S + "breakpoint_list", session)] == [True]
    assert rpc.call(S + "edit", session, {"kind": "stack", "index": 1, "value": "0x9"})["branch"] == 1
    rpc.call(S + "breakpoint_remove", session, 1)
    assert rpc.call(S + "run", session)["halt"]["output"] == f"0x{9:064x}"
    assert [b["current"] for b in rpc.call(S + "branches", session)] == [False, True]
    assert rpc.call(S + "checkout", session, 0)["branch"] == 0
    assert rpc.call(S + "run", session)["halt"]["output"] == f"0x{3:064x}"
    page = rpc.call(S + "state", session, {"memory": {"offset": 31, "limit": 1}})
    assert (page["memory"], page["pages"]["memory"]["total"]) == ("0x03", 32)
    assert rpc.call(S + "reverse_run", session)["reason"] == "start"
    rpc.call(S + "rename", session, "yours", ["a", "b"])
    listed = {line["id"]: line for line in rpc.call(S + "list")}
    assert (listed[session]["name"], listed[session]["tags"]) == ("yours", ["a", "b"])


def test_save_export_compare_and_trace(rpc: Rpc) -> None:
    session = rpc.call(S + "create", {"code": COUNT, "gas": 100_000})["id"]
    rpc.call(S + "step", session, 1000)
    before = rpc.call(S + "state", session)
    saved = rpc.call(S + "save", session, "a copy")["id"]
    rpc.call(S + "run", session)
    assert rpc.call(S + "restore", session, saved)["step"] == 1000
    imported = rpc.call(S + "import", rpc.call(S + "export", session))["id"]
    assert rpc.call(S + "import", rpc.call(S + "export", session))["signedBy"] is None
    assert [rpc.call(S + "state", found) for found in (saved, session, imported)] == [before] * 3
    assert rpc.call(S + "compare", session, imported)["isEqual"]
    other = rpc.call(S + "create", {"code": COUNT, "gas": "0x186a1"})["id"]
    assert rpc.call(S + "compare", session, other)["divergence"]["fields"] == ["gas"]
    changed = rpc.call(S + "state_diff", session, 0)
    assert changed["position"]["pc"]["left"] == "0"
    assert changed["memory"]["0"]["right"] == before["memory"]
    assert rpc.call(S + "state_diff", session, 500, 500, other)["stack"] == {}
    assert rpc.call(S + "state_diff", session, 500, 600, other) == rpc.call(S + "state_diff", session, 500, 600) | {
        "position": rpc.call(S + "state_diff", session, 500, 600, other)["position"]
    }
    page = rpc.call(S + "trace", session, 10, 3)
    assert len([json.loads(line)["pc"] for line in page["lines"]]) == 3
    assert (page["start"], page["stop"]) == (10, 13)
    assert rpc.call(S + "call_tree", session)["nodes"][0]["halt"]["reason"] == "out_of_gas"


def test_every_template_makes_a_session_with_its_end_state(rpc: Rpc) -> None:
    templates = rpc.call(S + "templates")
    assert len(templates) > 10
    for template in templates:
        session = rpc.call(S + "from_template", template["name"])["id"]
        assert rpc.call(S + "run", session)["halt"]["reason"] == template["expected"]["halt"], template["name"]
        rpc.call(S + "close", session)


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("state", (10**9,), "session.not_found"),
        ("create", ({"code": "0x60", "to": "0x" + "11" * 20},), "session.program"),
        ("create", ({"code": "zz"},), "session.program"),
        ("create", ({"transaction": "0x" + "11" * 32},), "session.program"),
        ("create", ({"codes": "0x"},), "session.program"),
        ("create", ({"code": "0x", "block": "0xffffff"},), "rpc.unknown_block"),
        ("from_template", ("nothing",), "session.not_found"),
        ("import", ("0x00",), "session_file.format"),
        ("step", ("x",), "rpc.params"),
    ],
)
def test_bad_input_is_refused_with_its_code(rpc: Rpc, method: str, params: tuple[Any, ...], code: str) -> None:
    with pytest.raises(RpcFailed) as failure:
        rpc.call(S + method, *params)
    assert failure.value.data["code"] == code


def test_the_handle_of_the_sdk(quic: zvmd.Node, tmp_path: Path) -> None:
    session = zvmd.Session.create(quic, code=ADD)
    assert session.step(2).opcode == "ADD"
    assert "step 2  pc 4  ADD" in str(session)
    session.add_breakpoint("opcode", opcode="SLOAD")
    assert session.run().reason == "breakpoint"
    session.export(tmp_path / "file", sign=True)
    signed = [quic.rpc(S + "import", "0x" + (tmp_path / "file").read_bytes().hex())["signedBy"] for _ in range(2)]
    assert signed[0] == signed[1]
    assert len(signed[0]) == 66
    other = zvmd.Session.load(quic, tmp_path / "file")
    assert other.state() == session.state()
    assert other.compare(session).is_equal
    other.close()
    with pytest.raises(zvmd.ZvmdError):
        other.state()


@pytest.mark.parametrize("transport", ["quic", "http"])
def test_commands(node: Node, tmp_path: Path, transport: str) -> None:
    if node.daemon is None:
        pytest.skip("an outside node has no data directory")
    link = ["--data-dir", str(node.daemon.data_dir)] + (["--http"] if transport == "http" else [])

    def session(command: str, *arguments: object, status: int = 0) -> str:
        result = run_command("session", command, *link, *map(str, arguments))
        assert result.returncode == status, result.stderr
        return (result.stdout or result.stderr).strip()

    number = session("new", "--code", ADD, "--name", "by hand")
    assert session("break", number, "opcode", "SSTORE") == "1"
    assert session("break", number, "memory_write", "0x40", 64) == "2"
    assert session("run", number).endswith("(breakpoint 1)")
    assert session("back", number, 2).startswith("step 2  pc 4  ADD")
    assert "0x2" in session("state", number)
    copy = session("save", number, "copy")
    assert "halted" in session("seek", number, 10) or session("step", number, 50)
    assert session("load", number, copy).startswith("step 2")
    session("export", number, tmp_path / "file")
    imported = session("import", tmp_path / "file")
    assert session("diff", number, imported).startswith("equal")
    other = session("new", "--code", ADD, "--gas", "99999")
    assert session("diff", number, other, status=1).startswith("step 0: gas differ")
    assert "by hand" in session("list")
    assert session("over-back", number).startswith("step 1")
    assert session("out-back", number).startswith("step 0")
    share_from_the_shell(session, number)
    session("close", number)


def share_from_the_shell(session: Callable[..., str], number: str) -> None:
    """Give a token, drive with it, watch with it, and revoke it."""
    token = session("share", number, "--role", "drive", "--ttl", "5m", "--name", "ann")
    assert "owner drives" in session("step", token, status=1)
    session("drive", token, "--take-over")
    assert session("step", token).startswith("step 1")
    assert '"driver": 1' in session("shares", number)
    assert "share 1 (ann): watch  step 1  pc 2" in session("watch", token, "--count", 1)
    session("release", token)
    session("unshare", number, 1)


def test_unknown_fields_of_options_are_refused_with_the_accepted_ones(rpc: Rpc) -> None:
    session = rpc.call(S + "create", {"code": ADD})["id"]
    for method, options, accepted in (
        (S + "drive", {"takeover": True}, "(accepted: takeOver)"),
        (S + "state", {"stac": {}}, "stack"),
        (S + "edit", {"kind": "gas", "valu": 1}, "value"),
    ):
        with pytest.raises(RpcFailed, match="unknown field") as refused:
            rpc.call(method, session, options)
        assert accepted in str(refused.value), method
    assert rpc.call(S + "drive", session, {"takeOver": None})["driver"] == 0
