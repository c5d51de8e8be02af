"""What people get wrong at the command line is told in their words: what is wrong, what would be right."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner

from node.cli.main import cli
from node.daemon.serving import _bind
from node.gateway.listener import open_socket
from node.ops.errors import InvalidSetting, UnknownSetting
from node.rpc.elsewhere import INSTEAD
from node.rpc.errors import MethodNotFound
from node.rpc.methods import load_methods
from node.rpc.registry import find_method, method_names
from node.settings import load_settings
from zvmd.abi import address_bytes, parse_amount, parse_signature
from zvmd.errors import ZvmdError

HOLDER = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"


@pytest.mark.parametrize(
    ("command", "status", "words"),
    [
        ("strat", 2, "Did you mean 'start'?"),
        ("--data-dir x status", 2, "Options follow the command"),
        (f"send {HOLDER[:-1]}9", 1, "checksum"),
        ("send vitalik.eth", 1, "not an address"),
        (f"send {HOLDER} 0x12zz", 1, "not calldata"),
        (f"send {HOLDER} --value much", 1, "not an amount"),
        (f"send {HOLDER} --private-key 0x12", 1, "not a private key"),
        (f"call {HOLDER} 0x1234 5", 1, "behind 0x-calldata"),
        (f"call {HOLDER} balanceOf(adress) {HOLDER}", 1, "not an ABI type"),
        ("events", 1, "need QUIC"),
        ("rpc eth_call {to:1}", 1, "not JSON"),
        ("logs --address 0x12", 1, "not an address"),
    ],
)
def test_commands(command: str, status: int, words: str) -> None:
    result = CliRunner().invoke(cli, command.split(), env={"ZVMD_URL": "http://127.0.0.1:1"})
    if isinstance(result.exception, ZvmdError):
        assert (status, result.exception.code, bool(result.exception.hint)) == (1, "client.input", True)
        assert words in result.exception.message
    else:
        assert (result.exit_code, words in result.output) == (status, True)


def test_addresses() -> None:
    for right in (HOLDER, HOLDER.lower(), "0x" + HOLDER[2:].upper(), HOLDER[2:], bytes.fromhex(HOLDER[2:])):
        assert address_bytes(right).hex() == HOLDER[2:].lower()
    for wrong in (HOLDER.swapcase().replace("0X", "0x"), HOLDER[:-2], HOLDER + "00", "", b"", "0x" + "zz" * 20):
        with pytest.raises(ZvmdError):
            address_bytes(wrong)


def test_types_and_amounts() -> None:
    wanted = ("uint256", "bytes32[2]", "(bool,string)[]", "fixed128x18")
    assert parse_signature("f(uint,bytes32[2],(bool,string)[],fixed128x18)").inputs == wanted
    for wrong in ("f(unit256)", "f(x)", "f(uint256,strin)"):
        with pytest.raises(ZvmdError, match="not an ABI type"):
            parse_signature(wrong)
    for amount in ("", "1 pound", "0.5wei", "1,5ether"):
        with pytest.raises(ZvmdError):
            parse_amount(amount)


@pytest.mark.parametrize(
    ("variable", "right"),
    [
        ("ZVMD_HTTP_PORT", "ZVMD_HTTP__PORT"),
        ("ZVMD_HTTPPORT", "ZVMD_HTTP__PORT"),
        ("ZVMD_CHAIN_ID", "ZVMD_NODE__CHAIN_ID"),
        ("ZVMD_NODE_DATA_DIR", "ZVMD_NODE__DATA_DIR"),
    ],
)
def test_a_variable_that_is_nearly_a_setting_is_refused(variable: str, right: str) -> None:
    with pytest.raises(UnknownSetting, match=right):
        load_settings(flags={}, environ={variable: "1"})


def test_variables() -> None:
    clients = {"ZVMD_DATA_DIR": "/here", "ZVMD_TOKEN": "x", "ZVMD_URL": "x", "ZVMD_CONFIG": "x"}
    loaded = load_settings(flags={}, environ=clients)
    assert (loaded.settings.node.data_dir, loaded.origins) == ("/here", {"node.data_dir": "env ZVMD_DATA_DIR"})
    assert load_settings(flags={"hardfork": "Cancun"}, environ={}).settings.node.hardfork == "cancun"
    with pytest.raises(InvalidSetting, match=r"one of frontier, .*, osaka"):
        load_settings(flags={"hardfork": "amsterdam"}, environ={})


def test_a_host_is_an_ip_address() -> None:
    with pytest.raises(InvalidSetting, match=r"http.host = 'localhost' is not an IP address"):
        _bind(open_socket, "http", "localhost", 0)


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("eth_blokNumber", "did you mean 'eth_blockNumber'?"),
        ("eth_chainID", "did you mean 'eth_chainId'?"),
        ("eth_subscribe", "/ws"),
        ("anvil_dumpState", "zvmd backup"),
        ("admin_peers", "zvmd_status"),
        ("eth_pony", ""),
    ],
)
def test_methods(method: str, words: str) -> None:
    load_methods()
    with pytest.raises(MethodNotFound) as refused:
        find_method(method)
    assert str(refused.value) == f"no method {method!r}" if not words else words in str(refused.value)


def test_advice_names_methods_that_exist_for_those_that_do_not() -> None:
    load_methods()
    assert not set(INSTEAD) & set(method_names())
    for advice in INSTEAD.values():
        assert set(re.findall(r"\b(?:eth|evm|anvil|hardhat|zvmd)_\w+", advice)) <= set(method_names())
