"""Every setting of the chain that can change at run time, on a real node that seals real blocks.

One table: what sets it (every spelling, over HTTP and over QUIC), what a client then sees, what a revert makes of it,
what sets it back, and which values are refused. The last test fails for a development call that is in no row or list.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from node.rpc.methods import load_methods
from node.rpc.registry import find_method, method_names
from tests.contracts import dev_account
from tests.daemon import Daemon
from tests.rpc import Rpc, RpcFailed

load_methods()
OWNER, OTHER = dev_account(0).address, dev_account(1).address
STRANGER = "0x" + "a1" * 20
COINBASE = "0x" + "c0" * 20
WORD = "0x" + "ab" * 32
FAR = 4_000_000_000
"""A timestamp, Unix seconds."""
ETHER = hex(10**18)
NUMBERS: tuple[object, ...] = (-1, "-0x1", "0x", "", "abc", True, 1.5, [], {}, None, 2**256)
FLAGS: tuple[object, ...] = (0, 1, "true", "0x1", [], {}, None)
ADDRESSES: tuple[object, ...] = (0, "0x", "0x1234", "0x" + "zz" * 20, "0x" + "11" * 21, True, [], {}, None)
WAIT_SECONDS, REST_SECONDS = 30.0, 0.5

Call = tuple[str, tuple[Any, ...]]


def call(method: str, *params: Any) -> Call:
    return method, params


def number(rpc: Rpc) -> int:
    return int(rpc.call("eth_blockNumber"), 16)


def next_block(field: str) -> Callable[[Rpc], Any]:
    """Seals a block; the value of the field in it."""

    def look(rpc: Rpc) -> Any:
        rpc.call("evm_mine")
        return rpc.call("eth_getBlockByNumber", "latest", False)[field]

    return look


def seconds_between_blocks(rpc: Rpc) -> int:
    times = [int(next_block("timestamp")(rpc), 16) for _ in range(2)]
    return times[1] - times[0]


def is_ahead(rpc: Rpc) -> bool:
    """Whether the chain's clock is an hour or more before the wall clock."""
    return int(next_block("timestamp")(rpc), 16) - time.time() > 3_500


def mines_at_once(rpc: Rpc) -> bool:
    fields = {"from": OWNER, "to": OTHER, "value": "0x1", "gas": "0x5208", "gasPrice": hex(10**12)}
    digest = rpc.call("eth_sendTransaction", fields)
    mined = rpc.call("eth_getTransactionReceipt", digest) is not None
    rpc.call("anvil_dropAllTransactions")
    return mined


def can_send(rpc: Rpc) -> bool:
    """Whether an account without a key can send."""
    rpc.call("anvil_setBalance", STRANGER, ETHER)
    try:
        rpc.call("eth_sendTransaction", {"from": STRANGER, "to": OTHER, "gas": "0x5208", "gasPrice": hex(10**12)})
    except RpcFailed:
        return False
    return True


def seals_by_itself(rpc: Rpc) -> bool:
    """Whether blocks come that nobody asks for. As many as were under way when sealing was switched off may come."""
    if rpc.call("zvmd_status")["intervalSeconds"]:
        first, end = number(rpc), time.monotonic() + WAIT_SECONDS
        while number(rpc) < first + 1 and time.monotonic() < end:
            time.sleep(0.02)
        return number(rpc) >= first + 1
    for _ in range(5):
        first = number(rpc)
        time.sleep(REST_SECONDS)
        if number(rpc) == first:
            return False
    return True


class Setting(NamedTuple):
    """A row."""

    name: str
    spellings: tuple[Call, ...]
    look: Callable[[Rpc], Any]
    then: Any
    """What ``look`` sees when it is set."""
    usual: Any
    back: tuple[Call, ...] = ()
    """Each sets it back; without any, the next block does."""
    is_reverted: bool = True
    """``evm_revert`` brings back what it was at the snapshot."""
    wrong: tuple[object, ...] = NUMBERS


SETTINGS = (
    Setting(
        "interval",
        (call("evm_setIntervalMining", 40), call("zvmd_setIntervalMining", 40), call("anvil_setIntervalMining", 1)),
        seals_by_itself, True, False,
        (call("evm_setIntervalMining", 0), call("zvmd_setIntervalMining", 0), call("anvil_setIntervalMining", 0)),
        is_reverted=False, wrong=(*NUMBERS, 2**63, 1000 * 86_400 * 365 * 1000),
    ),
    Setting(
        "automine",
        (call("evm_setAutomine", False), call("anvil_setAutomine", False), call("zvmd_setAutomine", False)),
        mines_at_once, False, True,
        (call("evm_setAutomine", True), call("anvil_setAutomine", True), call("zvmd_setAutomine", True)),
        is_reverted=False, wrong=FLAGS,
    ),
    Setting(
        "gas limit",
        tuple(call(f"{who}_setBlockGasLimit", 20_000_000) for who in ("evm", "anvil", "hardhat")),
        next_block("gasLimit"), hex(20_000_000), hex(30_000_000),
        tuple(call(f"{who}_setBlockGasLimit", 30_000_000) for who in ("evm", "anvil", "hardhat")),
        wrong=(*NUMBERS, 0, 4_999, 2**63),
    ),
    Setting(
        "base fee",
        tuple(call(f"{who}_setNextBlockBaseFeePerGas", "0x77") for who in ("anvil", "hardhat")),
        next_block("baseFeePerGas"), "0x77", None, wrong=(*NUMBERS, 2**64),
    ),
    Setting(
        "coinbase",
        tuple(call(f"{who}_setCoinbase", COINBASE) for who in ("anvil", "hardhat")),
        next_block("miner"), COINBASE, "0x" + "00" * 20,
        tuple(call(f"{who}_setCoinbase", "0x" + "00" * 20) for who in ("anvil", "hardhat")), wrong=ADDRESSES,
    ),
    Setting(
        "time offset", tuple(call(f"{who}_increaseTime", 3_600) for who in ("evm", "anvil")), is_ahead, True, False,
        wrong=(*NUMBERS, 2**63),
    ),
    Setting(
        "time", tuple(call(f"{who}_setTime", FAR) for who in ("evm", "anvil")), is_ahead, True, False,
        wrong=(*NUMBERS, 2**63),
    ),
    Setting(
        "next timestamp", tuple(call(f"{who}_setNextBlockTimestamp", FAR) for who in ("evm", "anvil")),
        next_block("timestamp"), hex(FAR), None, wrong=(*NUMBERS, 0, 2**63),
    ),
    Setting(
        "timestamp interval", tuple(call(f"{who}_setBlockTimestampInterval", 77) for who in ("evm", "anvil")),
        seconds_between_blocks, 77, None,
        tuple(call(f"{who}_removeBlockTimestampInterval") for who in ("evm", "anvil")), wrong=(*NUMBERS, 2**63),
    ),
    Setting(
        "prevrandao", tuple(call(f"{who}_setPrevRandao", WORD) for who in ("anvil", "hardhat")),
        next_block("mixHash"), WORD, None, wrong=("0x", "0x12", WORD + "ab", 1, True, [], {}, None),
    ),
    Setting(
        "impersonated", tuple(call(f"{who}_impersonateAccount", STRANGER) for who in ("anvil", "hardhat")),
        can_send, True, False,
        tuple(call(f"{who}_stopImpersonatingAccount", STRANGER) for who in ("anvil", "hardhat")),
        is_reverted=False, wrong=ADDRESSES,
    ),
    Setting(
        "impersonate all", tuple(call(f"{who}_autoImpersonateAccount", True) for who in ("anvil", "hardhat")),
        can_send, True, False, tuple(call(f"{who}_autoImpersonateAccount", False) for who in ("anvil", "hardhat")),
        is_reverted=False, wrong=FLAGS,
    ),
)  # fmt: skip
"""``usual`` None: whatever it is, it is not ``then``."""

NO_SETTINGS = {
    "evm_mine", "anvil_mine", "hardhat_mine", "zvmd_mine", "evm_snapshot", "anvil_snapshot", "evm_revert",
    "anvil_revert", "anvil_rollback", "anvil_reset", "hardhat_reset", "anvil_nodeInfo", "anvil_getAutomine",
    "hardhat_getAutomine", "anvil_dropTransaction", "hardhat_dropTransaction", "anvil_removePoolTransactions",
    "anvil_dropAllTransactions", "hardhat_dropAllTransactions", "anvil_setBalance", "hardhat_setBalance",
    "evm_setAccountBalance", "tenderly_setBalance", "anvil_addBalance", "hardhat_addBalance", "tenderly_addBalance",
    "anvil_setNonce", "hardhat_setNonce", "evm_setAccountNonce", "anvil_setCode", "hardhat_setCode",
    "evm_setAccountCode", "anvil_setStorageAt", "hardhat_setStorageAt", "evm_setAccountStorageAt",
    "zvmd_cheat", "eth_sendUnsignedTransaction", "anvil_metadata", "hardhat_metadata",
    "anvil_setLoggingEnabled", "hardhat_setLoggingEnabled",
}  # fmt: skip
"""Development calls that seal blocks, send, change the state or the pool, go back, look, or do one of these once.
What is printed is tried in `tests.clients.test_transcript`, for one life of the process, which it belongs to."""
SETTING = pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)


def is_usual(setting: Setting, rpc: Rpc) -> bool:
    seen = setting.look(rpc)
    return bool(seen != setting.then if setting.usual is None else seen == setting.usual)


@pytest.fixture
def daemon(own_daemon: Daemon) -> Daemon:
    """At genesis, with nothing set."""
    rpc = own_daemon.rpc()
    for setting in SETTINGS:
        for method, params in setting.back[:1]:
            rpc.call(method, *params)
    rpc.call("anvil_reset")
    return own_daemon


@SETTING
def test_every_spelling_acts_over_both_transports_and_is_set_back(daemon: Daemon, setting: Setting) -> None:
    rpc = daemon.rpc()
    for at, (method, params) in enumerate(setting.spellings):
        set_by, back_by = (rpc.call, daemon.call_over_quic)[:: -1 if at % 2 else 1]
        set_by(method, *params)
        assert setting.look(rpc) == setting.then, method
        if setting.back:
            back = setting.back[at]
            back_by(back[0], *back[1])
        elif setting.name in ("time offset", "time"):
            rpc.call("anvil_reset")
        assert is_usual(setting, rpc), method
        rpc.call("anvil_reset")


@SETTING
def test_a_revert_brings_back_what_it_says(daemon: Daemon, setting: Setting) -> None:
    rpc = daemon.rpc()
    snapshot = rpc.call("evm_snapshot")
    (method, params), *_ = setting.spellings
    rpc.call(method, *params)
    assert rpc.call("evm_revert", snapshot) is True
    if setting.is_reverted:
        assert is_usual(setting, rpc)
    else:
        assert setting.look(rpc) == setting.then


@SETTING
def test_what_was_set_at_a_snapshot_comes_back(daemon: Daemon, setting: Setting) -> None:
    if not (setting.is_reverted and setting.back):
        return  # nothing to bring back: see the test above
    rpc = daemon.rpc()
    (method, params), *_ = setting.spellings
    (back, values), *_ = setting.back
    rpc.call(method, *params)
    snapshot = rpc.call("evm_snapshot")
    rpc.call(back, *values)
    assert rpc.call("evm_revert", snapshot) is True
    assert setting.look(rpc) == setting.then


@SETTING
def test_wrong_values_are_refused_and_change_nothing(daemon: Daemon, setting: Setting) -> None:
    rpc = daemon.rpc()
    lsn = rpc.call("zvmd_read", 0, "eth_blockNumber")["lsn"]
    for method, _ in setting.spellings:
        for value in setting.wrong:
            with pytest.raises(RpcFailed) as refusal:
                rpc.call(method, value)
            assert refusal.value.code == -32602, (method, value)
        too_many = [None] * (len(find_method(method).parameters) + 1)
        for params in ([], too_many):
            with pytest.raises(RpcFailed):
                rpc.call(method, *params)
    assert rpc.call("zvmd_read", 0, "eth_blockNumber")["lsn"] == lsn
    assert is_usual(setting, rpc)


@pytest.mark.parametrize(
    "names",
    [
        ("automine", "gas limit", "base fee", "coinbase", "next timestamp", "prevrandao", "impersonated"),
        ("interval", "impersonate all", "time"),
        ("timestamp interval",),
    ],
    ids=lambda names: names[0],
)
def test_all_survive_a_kill(daemon: Daemon, names: tuple[str, ...]) -> None:
    chosen = [setting for setting in SETTINGS if setting.name in names]
    rpc = daemon.rpc()
    for setting in chosen:
        method, params = setting.spellings[-1 if setting.name == "automine" else 0]
        rpc.call(method, *params)
    daemon.kill()
    daemon.start()
    rpc = daemon.rpc()
    block: dict[str, Any] = {}
    if "automine" in names:  # one block has them all
        assert mines_at_once(rpc) is False
        rpc.call("evm_mine")
        block = rpc.call("eth_getBlockByNumber", "latest", False)
    fields = {"gas limit": "gasLimit", "base fee": "baseFeePerGas", "coinbase": "miner"}
    fields |= {"next timestamp": "timestamp", "prevrandao": "mixHash"}
    for setting in chosen:
        seen = block[fields[setting.name]] if setting.name in fields else setting.look(rpc)
        assert seen == setting.then, setting.name


@pytest.mark.parametrize("fork", ["berlin"])
def test_what_a_fork_does_not_have_is_refused(tmp_path_factory: pytest.TempPathFactory, fork: str) -> None:
    """A base fee before London, randomness before the merge: accepted, they would do nothing."""
    daemon = Daemon(tmp_path_factory.mktemp(fork) / "data", "--hardfork", fork)
    try:
        daemon.start()
        rpc = daemon.rpc()
        for method, value in (("anvil_setNextBlockBaseFeePerGas", "0x77"), ("anvil_setPrevRandao", WORD)):
            with pytest.raises(RpcFailed, match="begins with"):
                rpc.call(method, value)
        assert rpc.call("eth_gasPrice") == hex(10**9)  # no base fee, one gwei for the sealer
        cheap = {"from": OWNER, "to": OTHER, "gas": "0x5208", "gasPrice": "0x1"}
        assert rpc.call("eth_getTransactionReceipt", rpc.call("eth_sendTransaction", cheap))["status"] == "0x1"
        rpc.call("anvil_setCoinbase", COINBASE)
        assert next_block("miner")(rpc) == COINBASE
    finally:
        daemon.close()


def test_every_development_call_is_a_row_or_no_setting() -> None:
    rows = {method for setting in SETTINGS for method, _ in (*setting.spellings, *setting.back)}
    calls = {name for name in method_names() if find_method(name).development}
    assert calls == rows | NO_SETTINGS
    assert not rows & NO_SETTINGS
