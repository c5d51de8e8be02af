"""The audit log: what is written of whom, that it is durable before the answer, bounded, and stops nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from node.doors.doors import Doors
from node.doors.token_book import TokenBook
from node.doors.token_desk import TokenDesk
from node.ops import audit as audit_module
from node.ops.audit import AUDIT_FILE, AuditLog, older, read_audit, without_secrets
from node.rpc.brief import BriefReads
from node.rpc.caller import GUEST, OWNER, Caller
from node.rpc.context import Context
from node.rpc.held import Held
from node.rpc.limits import RpcLimits
from node.rpc.methods import load_methods
from node.rpc.readers import Readers
from node.rpc.registry import Scope, find_method, method_names
from node.rpc.rights import Rights
from node.rpc.service import RpcService
from tests.unit.rpc.memory_backend import MemoryBackend


def test_records_are_in_order_and_on_disk_when_the_future_is_done(tmp_path: Path) -> None:
    audit = AuditLog(tmp_path, wall=lambda: 0.0)
    for number in range(300):
        future = audit.note("call", number=number)
    future.result(60)
    lines = [json.loads(line) for line in (tmp_path / AUDIT_FILE).read_text().splitlines()]
    assert [line["number"] for line in lines] == list(range(300))
    assert lines[0]["time"] == "1970-01-01T00:00:00.000+00:00"
    assert (tmp_path / AUDIT_FILE).stat().st_mode & 0o777 == 0o600
    audit.close()
    assert audit.status() == {"written": 300, "lost": 0, "lastError": None}


def test_it_is_bounded_and_the_newest_records_are_read_over_both_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_module, "FILE_BYTES_MAX", 2_000)
    audit = AuditLog(tmp_path)
    for number in range(200):
        audit.note("call", number=number, text="x" * 100).result(60)
    audit.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [AUDIT_FILE, older(tmp_path / AUDIT_FILE).name]
    assert all(path.stat().st_size <= 2_000 for path in tmp_path.iterdir())
    assert [record["number"] for record in read_audit(tmp_path, 12)] == list(range(188, 200))
    assert [record["number"] for record in read_audit(tmp_path, 1)] == [199]


def test_half_a_line_is_left_out_and_nothing_is_written_behind_it(tmp_path: Path) -> None:
    path = tmp_path / AUDIT_FILE
    path.write_bytes(b'{"event": "whole"}\n{"event": "ha')
    audit = AuditLog(tmp_path)
    audit.note("next").result(60)
    audit.close()
    assert [record["event"] for record in read_audit(tmp_path, 10)] == ["whole", "next"]


def test_what_cannot_be_written_stops_nothing_and_is_told(tmp_path: Path) -> None:
    directory = tmp_path / "there"
    audit = AuditLog(directory)
    audit.note("lost").result(60)
    directory.mkdir()
    audit.note("written").result(60)
    audit.note("written too").result(60)
    audit.close()
    assert audit.status()["lost"] == 1
    assert "there" in audit.status()["lastError"]
    assert [(record["event"], record.get("lost")) for record in read_audit(directory, 9)] == [
        ("written", 1), ("written too", None),
    ]  # fmt: skip


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("kept")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / AUDIT_FILE).symlink_to(victim)
    audit = AuditLog(tmp_path / "data")
    audit.note("call").result(60)
    audit.close()
    assert victim.read_text() == "kept"
    assert audit.status()["lost"] == 1


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("zvmd_" + "a" * 58, "zvmd_..."),
        ("x " + "ab" * 32 + " y", "x ... y"),
        ("0x" + "ab" * 32, "0x" + "ab" * 32),
        ("zvs-12-3-" + "ab" * 32, "zvs-12-3-..."),
        ("ab" * 33, "ab" * 33),
    ],
)
def test_secrets_are_left_out(text: str, wanted: str) -> None:
    assert without_secrets(text) == wanted


def test_long_text_is_cut() -> None:
    assert len(without_secrets("x" * 10**6)) == audit_module.TEXT_CHARACTERS_MAX


class Chain(MemoryBackend):
    """Makes development calls."""

    async def cheat(self, name: str, *arguments: Any, key: str = "") -> int | str | bool | None:
        return True


def answered(directory: Path, caller: Caller, audits_development: bool, *calls: tuple[str, list[Any]]) -> list[Any]:
    """The records of calls over JSON-RPC."""

    async def run() -> None:
        limits = RpcLimits()
        readers, audit = Readers(limits), AuditLog(directory)
        desk = TokenDesk(Doors(tokens=TokenBook.read(directory)))
        context = Context(
            Chain(), limits, read=readers.run, tokens=desk, audit=audit, audits_development=audits_development
        )
        service = RpcService(context, readers, BriefReads(limits, readers), Held(limits.held_max_bytes))
        body = [{"jsonrpc": "2.0", "id": 1, "method": name, "params": params} for name, params in calls]
        answers = json.loads(await service.answer(json.dumps(body).encode(), caller=caller) or b"[]")
        assert len(answers) == len(calls)
        before_close = read_audit(directory, 1_000)
        audit.close()
        service.close()
        assert [r for r in before_close if r.get("outcome") != "read"] == [
            r for r in read_audit(directory, 1_000) if r.get("outcome") != "read"
        ], "it was durable before the answer"

    asyncio.run(run())
    return [(r["method"], r["outcome"], r["caller"], r["params"]) for r in read_audit(directory, 1_000)]


def test_acts_of_the_owner_are_recorded_with_who_and_how_they_ended(tmp_path: Path) -> None:
    records = answered(
        tmp_path, OWNER._replace(way="quic", address="192.0.2.1"), False,
        ("zvmd_tokenCreate", ["ci", ["read"]]), ("zvmd_tokenCreate", ["ci", ["read"]]), ("zvmd_tokenRevoke", ["ci"]),
        ("eth_chainId", []), ("anvil_setBalance", ["0x" + "11" * 20, "0x1"]),
    )  # fmt: skip
    assert records == [
        ("zvmd_tokenCreate", "done", "owner", '["ci", ["read"], null]'),
        ("zvmd_tokenCreate", "auth.token_refused", "owner", '["ci", ["read"], null]'),
        ("zvmd_tokenRevoke", "done", "owner", '["ci"]'),
    ]
    (first, *_) = read_audit(tmp_path, 3)
    assert (first["way"], first["address"], first["event"]) == ("quic", "192.0.2.1", "call")
    assert "zvmd_" + "a" not in (tmp_path / AUDIT_FILE).read_text()


def test_development_calls_are_recorded_where_the_chain_is_not_there_for_them(tmp_path: Path) -> None:
    calls = ("anvil_setBalance", ["0x" + "11" * 20, "0x1"]), ("anvil_nodeInfo", [])
    assert answered(tmp_path, Caller("ci", Rights(Scope.DEVELOP), "id"), False, *calls) == []
    records = answered(tmp_path, Caller("ci", Rights(Scope.DEVELOP), "id"), True, *calls)
    assert [(name, caller) for name, _, caller, _ in records] == [("anvil_setBalance", "ci"), ("anvil_nodeInfo", "ci")]
    assert "11" * 20 in records[0][3]


def test_what_is_refused_for_want_of_a_right_is_not_recorded(tmp_path: Path) -> None:
    assert answered(tmp_path, GUEST, True, ("zvmd_tokenList", []), ("zvmd_mine", [])) == []


def test_acts_of_the_scope_admin_are_coroutines() -> None:
    """A read is recorded without waiting for the disk, so nothing that acts may be one."""
    load_methods()
    admin = {name for name in method_names() if find_method(name).scope is Scope.ADMIN}
    assert admin == {"zvmd_tokenCreate", "zvmd_tokenList", "zvmd_tokenRevoke"}
    assert all(find_method(name).is_coroutine for name in admin)
