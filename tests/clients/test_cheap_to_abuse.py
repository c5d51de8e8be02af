"""Calls that cost little to send: what they may cost the node is bounded, and what is refused says so."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from node.rpc.methods.eth_state import ACCESS_LIST_ROUNDS_MAX
from storage.amendments import SNAPSHOTS_MAX
from tests.daemon import Daemon
from tests.rpc import Rpc, RpcFailed

X = "0x" + "58" * 20
CHANGING = {
    "a slot named by the gas left": "0x5a54505b600356",
    "one such slot": "0x5a5400",
    "an account named by the gas left": "0x5a315000",
    "code size of such an account": "0x5a3b5000",
    "a call to such an account": "0x5f5f5f5f5a6103e8fa5000",
    "a slot written": "0x60015a5500",
}
"""What each uses depends on what is warm."""
NEVER = ("a slot named by the gas left", "one such slot", "an account named by the gas left",
         "code size of such an account", "a call to such an account", "a slot written")


@pytest.fixture(scope="module")
def rpc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rpc]:
    daemon = Daemon(tmp_path_factory.mktemp("abuse") / "data")
    try:
        daemon.start()
        yield daemon.rpc()
    finally:
        daemon.close()


@pytest.mark.parametrize("name", CHANGING)
def test_an_access_list_settles_or_is_refused(rpc: Rpc, name: str) -> None:
    fields = {"to": X, "gas": "0xea60"}
    if name in NEVER:
        with pytest.raises(RpcFailed, match="not after") as refusal:
            rpc.call("eth_createAccessList", fields, "latest", {X: {"code": CHANGING[name]}})
        assert refusal.value.code == -32005
    else:
        assert rpc.call("eth_createAccessList", fields, "latest", {X: {"code": CHANGING[name]}})["accessList"]


def test_a_list_that_no_transaction_can_carry_is_refused(rpc: Rpc) -> None:
    """Slots 0, 1, 2 ... each read once: it would settle, at more keys than fit into 128 KiB."""
    code = "0x5f5b80545060010160015600"
    with pytest.raises(RpcFailed, match="4096 accounts and slots") as refusal:
        rpc.call("eth_createAccessList", {"to": X, "gas": "0x1312d00"}, "latest", {X: {"code": code}})
    assert refusal.value.code == -32005


def test_ordinary_code_settles_in_few_rounds(rpc: Rpc) -> None:
    code = "0x5f545060015450" + "73" + "11" * 20 + "315000"
    answer = rpc.call("eth_createAccessList", {"to": X}, "latest", {X: {"code": code}})
    assert {entry["address"] for entry in answer["accessList"]} == {X, "0x" + "11" * 20}
    assert ACCESS_LIST_ROUNDS_MAX > 3


def test_many_filters_do_not_lock_others_out(rpc: Rpc) -> None:
    mine = rpc.call("eth_newBlockFilter")
    rpc.call("eth_getFilterChanges", mine)
    for _ in range(5):
        rpc.batch([("eth_newFilter", ({},))] * 100)
    assert rpc.call("eth_getFilterChanges", mine) == []
    another = rpc.call("eth_newBlockFilter")
    rpc.call("evm_mine")
    assert len(rpc.call("eth_getFilterChanges", mine)) == len(rpc.call("eth_getFilterChanges", another)) == 1


def test_snapshots_have_a_limit_that_the_status_shows(rpc: Rpc) -> None:
    first = rpc.call("evm_snapshot")
    before = rpc.call("zvmd_status")["limits"]["snapshots"]
    assert before["max"] == SNAPSHOTS_MAX
    for _ in range(SNAPSHOTS_MAX // 64 + 1):
        rpc.batch([("evm_snapshot", ())] * 64)
    limits = rpc.call("zvmd_status")["limits"]
    assert limits["snapshots"] == {"used": SNAPSHOTS_MAX, "max": SNAPSHOTS_MAX}
    assert limits["snapshot transactions"]["used"] == 0
    assert rpc.call("evm_revert", first) is False  # forgotten
    assert rpc.call("evm_revert", hex(int(first, 16) + SNAPSHOTS_MAX)) is True


def test_templates_with_long_keys_are_refused(rpc: Rpc) -> None:
    key = ".".join("a" * 20_000)
    for text in (f"{key} = 1", f"[{key}]", f'x = """a""""\n{key} = "'):
        with pytest.raises(RpcFailed) as refusal:
            rpc.call("zvmd_session_template_save", {"toml": text})
        assert refusal.value.data["code"] == "session.template"


def test_unknown_methods_name_what_was_meant(rpc: Rpc) -> None:
    meant = {"eth_blokNumber": "eth_blockNumber", "ETH_CHAINID": "eth_chainId", "evm_mien": "evm_mine"}
    for wrong, right in meant.items():
        with pytest.raises(RpcFailed, match=right) as refusal:
            rpc.call(wrong)
        assert refusal.value.code == -32601
    for wrong in ("eth_nothingOfThisKind", "x" * 100_000, "", "\x00", "é" * 40):
        with pytest.raises(RpcFailed) as refusal:
            rpc.call(wrong)
        assert "did you mean" not in str(refusal.value)
        assert len(str(refusal.value).removeprefix(wrong)) < 400
