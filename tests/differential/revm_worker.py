"""Runs cases in revm: pickled batches on standard input, their ends on standard output.

Started with the Python of the oracles' environment; imports nothing of this repository. No traces: pyrevm prints
them by compiling a Python ``print`` for every few letters, a millisecond a step.
"""

from __future__ import annotations

import pickle
import sys
from typing import Any

import pyrevm

CALLER = "0x" + "ca" * 20
SPECIFICATIONS = {"TANGERINE_WHISTLE": "Tangerine", "SPURIOUS_DRAGON": "Spurious", "PARIS": "Merge"}
"""revm's names that are not zvmd's. A name revm does not know means its latest fork."""


def run(case: dict[str, Any], contracts: list[str], watched: list[str]) -> dict[str, Any] | None:
    """Run one case; None if revm refuses the transaction.

    The contracts begin without storage: pyrevm can only set slots in a way that makes them warm.
    """
    fork = case["fork"]
    evm = pyrevm.EVM(
        env=pyrevm.Env(cfg=pyrevm.CfgEnv(chain_id=1)),
        spec_id=SPECIFICATIONS.get(fork, fork.title()),
        gas_limit=30_000_000,  # overrides the block's
    )
    evm.set_block_env(
        pyrevm.BlockEnv(
            number=1000,
            timestamp=1_700_000_000,
            coinbase="0x" + "c0" * 20,
            difficulty=6,
            prevrandao=bytes(31) + b"\x05",
            basefee=0,
            gas_limit=30_000_000,
            excess_blob_gas=0,
        )
    )
    evm.insert_account_info(CALLER, pyrevm.AccountInfo(balance=10**18))  # type: ignore[call-arg]
    for address, code in zip(contracts, case["codes"], strict=True):
        info = pyrevm.AccountInfo(balance=5, nonce=1, code=bytes.fromhex(code))  # type: ignore[call-arg]
        evm.insert_account_info("0x" + address, info)
    failure, output = "", ""
    try:
        data = bytes.fromhex(case["data"])
        output = bytes(evm.message_call(CALLER, "0x" + contracts[0], data, case["value"], case["gas"])).hex()
    except RuntimeError as error:
        failure = str(error)
        if failure.startswith("Revert"):
            output = failure.partition("output: 0x")[2].rstrip(" }")
    result = evm.result
    if result is None:
        return None
    return {
        "output": output,
        "gas_used": result.gas_used,
        "success": result.is_success,
        "logs": [
            (log.address.lower()[2:], [topic.removeprefix("0x") for topic in log.topics], bytes(log.data[1]).hex())
            for log in result.logs
        ],
        "accounts": [account(evm, "0x" + address) for address in watched],
        "storage": [[hex(evm.storage("0x" + address, slot)) for slot in range(6)] for address in contracts],
    }


def account(evm: pyrevm.EVM, address: str) -> tuple[str, str]:
    """Balance and nonce."""
    info = evm.basic(address)
    return hex(info.balance), hex(info.nonce)


def main() -> None:
    """Serve until the input ends."""
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while True:
        try:
            batch = pickle.load(source)
        except EOFError:
            return
        known = batch["contracts"], batch["watched"]
        pickle.dump([run(case, *known) for case in batch["cases"]], sink, protocol=5)
        sink.flush()


if __name__ == "__main__":
    main()
