"""Deploy a counter over QUIC, add to it, follow its events, read its past. Run it beside `make run`:

    .venv/bin/python examples/counter.py
"""

from __future__ import annotations

import zvmd

RUNTIME = bytes.fromhex(
    "600035"  # word = CALLDATALOAD(0)
    "80601257"  # DUP1; jump to 0x12 if it is not 0
    "60005460005260206000f3"  # return SLOAD(0)
    "5b"  # 0x12: JUMPDEST
    "8060005401"  # DUP1; SLOAD(0) + word
    "80600055"  # SSTORE(0, sum)
    "600052"  # memory[0:32] = sum
    "60206000a1"  # LOG1(memory[0:32], topic = word)
    "00"  # STOP
)
"""Calldata is one 32-byte word: 0 reads the counter, anything else is added to it and logged."""

CREATION = bytes.fromhex(f"60{len(RUNTIME):02x}80600b6000396000f3") + RUNTIME
"""Copies the runtime code to memory and returns it."""


def word(number: int) -> bytes:
    """A 256-bit big-endian word."""
    return number.to_bytes(32, "big")


def main() -> None:
    """The whole demonstration."""
    with zvmd.SyncClient() as node:
        counter = node.deploy(CREATION)
        print(f"counter at 0x{counter.address.hex()}, block {counter.block_number}")
        for step in (1, 2, 39):
            sent = node.send(counter.address, word(step))
            print(f"added {step} in block {sent.block_number}")
        total = int.from_bytes(node.call_raw(counter.address, word(0)), "big")
        print(f"the counter says {total}")
        before = node.call_raw(counter.address, word(0), block=hex(counter.block_number + 1))
        print(f"two blocks ago it said {int.from_bytes(before, 'big')}")
        for log in node.logs(addresses=[counter.address], from_block=counter.block_number):
            print(f"block {log.block_number}: +{int.from_bytes(log.topics[0], 'big')}")


if __name__ == "__main__":
    main()
