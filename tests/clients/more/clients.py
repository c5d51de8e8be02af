"""web3.py, titanoboa and ape, run by the interpreter they are installed for: clients.py CLIENT URL < contract.

Prints a line of JSON per action: {"action", "ok", "error"?}.
"""

import json
import sys
import traceback
from collections.abc import Callable
from typing import Any

import pytest

FRIEND = "0xE9E9E9e9e9E9E9e9e9e9e9E9E9E9e9E9e9e9e9e9"
SECRET = "0x8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba"

Steps = dict[str, Callable[[], Any]]


def web3py(url: str, contract: dict[str, Any]) -> Steps:
    from web3 import Web3
    from web3.exceptions import ContractLogicError, Web3RPCError

    w3 = Web3(Web3.HTTPProvider(url))
    sender = w3.eth.accounts[6]
    known: dict[str, Any] = {}

    def deploy() -> None:
        factory = w3.eth.contract(abi=contract["abi"], bytecode=contract["bytecode"])
        sent = factory.constructor("Web3.py", "W3P", 1000, sender).transact({"from": sender})
        receipt = w3.eth.wait_for_transaction_receipt(sent)
        known["token"] = w3.eth.contract(receipt["contractAddress"], abi=contract["abi"])

    def call() -> None:
        assert known["token"].functions.symbol().call() == "W3P"
        assert known["token"].functions.transfer(FRIEND, 1).estimate_gas({"from": sender}) > 21_000

    def reverted() -> None:
        with pytest.raises(ContractLogicError, match="exceeds balance"):
            known["token"].functions.transfer(FRIEND, 10**9).call({"from": sender})

    def refused() -> None:
        with pytest.raises(Web3RPCError):  # not ContractLogicError: nothing ran that could have reverted
            w3.eth.call({"to": FRIEND}, 999_999_999)

    def events() -> None:
        sent = known["token"].functions.transfer(FRIEND, 7).transact({"from": sender})
        receipt = w3.eth.wait_for_transaction_receipt(sent)
        (event,) = known["token"].events.Transfer().process_receipt(receipt)
        assert event["args"]["value"] == 7
        assert known["token"].events.Transfer.get_logs(from_block=0)

    def filters() -> None:
        watched = w3.eth.filter("latest")
        w3.eth.send_transaction({"from": sender, "to": FRIEND, "value": 1})
        assert watched.get_new_entries()

    def signed() -> None:
        account = w3.eth.account.from_key(SECRET)
        fields = {"to": FRIEND, "value": 1, "gas": 21_000, "chainId": 31_337, "maxFeePerGas": 10**10}
        fields |= {"maxPriorityFeePerGas": 1, "nonce": w3.eth.get_transaction_count(account.address)}
        raw = account.sign_transaction(fields).raw_transaction
        assert w3.eth.wait_for_transaction_receipt(w3.eth.send_raw_transaction(raw))["status"] == 1

    def pending() -> None:
        assert w3.eth.get_block("pending")["parentHash"] == w3.eth.get_block("latest")["hash"]

    return {
        "chain_id, block_number, gas_price, fee_history": lambda: (
            w3.eth.chain_id, w3.eth.block_number, w3.eth.gas_price, w3.eth.fee_history(1, "latest", [50]),
        ),
        "deploy": deploy,
        "call, estimate_gas": call,
        "a revert with its reason": reverted,
        "a refusal is not a revert": refused,
        "events": events,
        "filters": filters,
        "send_raw_transaction": signed,
        "get_block pending": pending,
        "get_proof, get_storage_at, get_code": lambda: (
            w3.eth.get_proof(known["token"].address, [0]),
            w3.eth.get_storage_at(known["token"].address, 0),
            w3.eth.get_code(known["token"].address),
        ),
    }  # fmt: skip


VYPER = """
number: public(uint256)

@deploy
def __init__(first: uint256):
    self.number = first

@external
def put(next: uint256):
    assert next < 1000, "too big"
    self.number = next
"""


def titanoboa(url: str, contract: dict[str, Any]) -> Steps:
    import boa
    from boa.network import NetworkEnv
    from eth_account import Account

    known: dict[str, Any] = {}

    def connect() -> None:
        boa.set_network_env(url)
        env = boa.env
        assert isinstance(env, NetworkEnv)
        env.add_account(Account.from_key(SECRET))

    def deploy() -> None:
        known["counter"] = boa.loads(VYPER, 5)
        assert known["counter"].number() == 5

    def send() -> None:
        known["counter"].put(6)
        assert known["counter"].number() == 6

    def reverted() -> None:
        with boa.reverts("too big"):
            known["counter"].put(5000)

    def anchored() -> None:
        with boa.env.anchor():
            known["counter"].put(7)
        assert known["counter"].number() == 6

    return {
        "set_network_env, add_account": connect,
        "deploy": deploy,
        "send": send,
        "boa.reverts": reverted,
        "env.anchor": anchored,
    }


def ape(url: str, contract: dict[str, Any]) -> Steps:
    from ape import accounts, networks
    from ethpm_types import ContractType

    known: dict[str, Any] = {}

    def connect() -> None:
        networks.parse_network_choice(f"ethereum:local:{url}").__enter__()
        known["account"] = accounts.test_accounts[7]
        known["provider"] = networks.provider
        assert networks.provider.chain_id in {1337, 31337}

    def deploy() -> None:
        from ape.contracts import ContractContainer

        kind = ContractType.model_validate(
            {"contractName": "Token", "abi": contract["abi"], "deploymentBytecode": {"bytecode": contract["bytecode"]}}
        )
        known["token"] = known["account"].deploy(ContractContainer(kind), "Ape", "APE", 1000, known["account"].address)
        assert known["token"].symbol() == "APE"

    def send() -> None:
        receipt = known["token"].transfer(FRIEND, 4, sender=known["account"])
        assert receipt.status == 1
        assert receipt.events[0].value == 4

    return {"connect": connect, "deploy": deploy, "send, events": send}


def main() -> int:
    client, url = sys.argv[1:]
    contract = json.load(sys.stdin)
    failed = 0
    for action, step in {"web3.py": web3py, "titanoboa": titanoboa, "ape": ape}[client](url, contract).items():
        try:
            step()
            print(json.dumps({"action": action, "ok": True}), flush=True)
        except Exception:
            failed += 1
            print(json.dumps({"action": action, "ok": False, "error": traceback.format_exc()[-600:]}), flush=True)
    print(json.dumps({"action": "the script ended", "ok": True}))
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
