"""Geth's call tree, flat calls and struct logs derived from what the execution specification tells of a transaction.

Written from geth's sources and EELS' events alone; of zvmd only names and operand counts of opcodes are used.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from chain.forks import Fork
from vm.evm.opcodes import opcodes

NAMES = {0xF0: "CREATE", 0xF1: "CALL", 0xF2: "CALLCODE", 0xF4: "DELEGATECALL", 0xF5: "CREATE2", 0xFA: "STATICCALL"}
WORDS = {
    "Revert": "execution reverted",
    "OutOfGasError": "out of gas",
    "InvalidJumpDestError": "invalid jump destination",
    "WriteInStaticContext": "write protection",
    "OutOfBoundsRead": "return data out of bounds",
    "InvalidContractPrefix": "invalid code: must not begin with 0xef",
    "AddressCollision": "contract address collision",
}
MEMORY = {
    **dict.fromkeys((0x20, 0xF3, 0xFD, 0xA0, 0xA1, 0xA2, 0xA3, 0xA4), ((0, 1),)),
    **dict.fromkeys((0x37, 0x39, 0x3E), ((0, 2),)),
    **dict.fromkeys((0xF0, 0xF5), ((1, 2),)),
    **dict.fromkeys((0xF1, 0xF2), ((3, 4), (5, 6))),
    **dict.fromkeys((0xF4, 0xFA), ((2, 3), (4, 5))),
    0x3C: ((1, 3),),
    0x5E: ((0, 2), (1, 2)),
}
"""Offset and size, as places in the stack, of the memory an opcode reaches."""
MAX = 2**64


def hexed(value: bytes | int) -> str:
    return hex(value) if isinstance(value, int) else "0x" + value.hex()


@dataclass
class Frame:
    """A message that has begun."""

    node: dict[str, Any]
    gas: int
    is_create: bool
    logs_before: int
    fault: str = ""
    inner: tuple[int, str, bytes] = (0, "", b"")


@dataclass
class Model:
    """Builds geth's answers from events."""

    fork: Fork
    gas_limit: int
    to: bytes | None
    root: dict[str, Any] = field(default_factory=dict)
    lines: list[dict[str, Any]] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    pending: tuple[Any, ...] | None = None
    gas_given: int = 0
    logs: int = 0
    slots: dict[bytes, dict[str, str]] = field(default_factory=dict)

    def hear(self, events: list[tuple[Any, ...]]) -> None:
        for kind, *told in events:
            getattr(self, kind)(*told)

    # Calls

    def call(self, byte: int, stack: list[int], memory: bytes, *place: Any) -> None:
        self.pending = (byte, stack, memory, *place)

    def granted(self, gas: int) -> None:
        self.gas_given = gas

    def begin(self, caller: bytes, target: bytes, value: int, data: bytes, gas: int, depth: int) -> None:
        if self.pending is None:
            kind, to = ("CREATE", target) if self.to is None else ("CALL", self.to)
            sender = caller
        else:
            byte, stack = self.pending[:2]
            kind = NAMES[byte]
            to = target if byte in (0xF0, 0xF5) else (stack[1] % 2**160).to_bytes(20, "big")
            sender = self.pending[3]
        self.pending = None
        node = {"type": kind, "from": hexed(sender), "to": hexed(to), "gas": hexed(gas), "input": hexed(data)}
        if kind != "STATICCALL":
            node["value"] = hexed(value)
        assert depth == len(self.frames)
        self.frames.append(Frame(node, gas, kind.startswith("CREATE"), self.logs))

    def end(self, left: int, error: str, output: bytes) -> None:
        frame = self.frames[-1]
        frame.inner = (left, error, output)
        if not frame.is_create:
            self._close(left, error, output)

    def created(self, left: int, error: str) -> None:
        inner_left, inner_error, code = self.frames[-1].inner
        if error == "OutOfGasError" and not inner_error:
            self.frames[-1].fault = (
                "contract creation code storage out of gas"
                if 200 * len(code) > inner_left
                else "max code size exceeded"
            )
        elif error and not inner_error:
            self.frames[-1].fault = WORDS[error]
        self._close(left, error, code)

    def _close(self, left: int, error: str, output: bytes) -> None:
        frame = self.frames.pop()
        node = frame.node
        node["gasUsed"] = hexed(frame.gas - left)
        if error:
            node["error"] = frame.fault or "a precompiled contract's"
            self.logs = frame.logs_before
            if frame.is_create:
                node.pop("to")
            drop_logs(node)
        if output and (not error or error == "Revert"):
            node["output"] = hexed(output)
        self._nest(node)

    def _nest(self, node: dict[str, Any]) -> None:
        if self.frames:
            self.frames[-1].node.setdefault("calls", []).append(node)
        else:
            self.root = node

    def called(self) -> None:
        """The end of a call's opcode: if nothing began, it was refused."""
        if self.pending is None:
            return
        byte, stack, memory, owner, balance, nonce, depth = self.pending
        self.pending = None
        is_create = byte in (0xF0, 0xF5)
        value = stack[0] if is_create else stack[2] if byte in (0xF1, 0xF2) else 0
        offset, size = stack[1:3] if is_create else stack[3:5] if byte in (0xF1, 0xF2) else stack[2:4]
        node = {"type": NAMES[byte], "from": hexed(owner), "gas": hexed(self.gas_given), "gasUsed": "0x0"}
        node["input"] = hexed(memory.ljust(offset + size, b"\0")[offset : offset + size] if size else b"")
        if byte != 0xFA:
            node["value"] = hexed(value)
        if not is_create:
            node["to"] = hexed((stack[1] % 2**160).to_bytes(20, "big"))
        if depth == 1024:
            node["error"] = "max call depth exceeded"
        elif value > balance:
            node["error"] = "insufficient balance for transfer"
        else:
            assert is_create, "a call that nothing refuses"
            overflows = nonce == MAX - 1
            node["error"] = "nonce uint64 overflow" if overflows else "contract address collision"
            node["gasUsed"] = "0x0" if overflows else node["gas"]
        self._nest(node)

    def dying(self, owner: bytes, heir: int, balance: int) -> None:
        self.pending = (0xFF, owner, heir, balance)

    def died(self) -> None:
        assert self.pending is not None
        _, owner, heir, balance = self.pending
        self.pending = None
        zero = {"gas": "0x0", "gasUsed": "0x0", "input": "0x"}
        heir_shown = hexed(heir.to_bytes(20, "big"))
        self._nest({"type": "SELFDESTRUCT", "from": hexed(owner), "to": heir_shown, "value": hexed(balance)} | zero)

    def log(self, address: bytes, topics: list[bytes], data: bytes) -> None:
        node = self.frames[-1].node
        shown = {"address": hexed(address), "topics": [hexed(topic) for topic in topics], "data": hexed(data)}
        places = {"index": hexed(self.logs), "position": hexed(len(node.get("calls", ())))}
        node.setdefault("logs", []).append(shown | places)
        self.logs += 1

    def fault(self, error: str, byte: int | None, height: int, stack: list[int], left: int) -> None:
        self.pending = None
        if byte is None:
            return  # a precompiled contract's: EELS raises OutOfGasError for all its faults
        words, cost = self._words(error, byte, height, stack, left)
        self.frames[-1].fault = words
        if error == "InvalidOpcode":
            self.lines[-1]["gasCost"] = 0
        if error in ("StackUnderflowError", "StackOverflowError", "OutOfGasError"):
            self.lines[-1]["error"] = words
            if cost is not None:
                self.lines[-1]["gasCost"] = cost

    def _words(self, error: str, byte: int, height: int, stack: list[int], left: int) -> tuple[str, int | None]:
        row = opcodes(self.fork).get(byte)
        if error == "InvalidOpcode" or row is None or row.name == "INVALID":
            return f"invalid opcode: {name_of(byte)}", 0
        dynamic = {0x0A, 0xA0, 0xA1, 0xA2, 0xA3, 0xA4, 0x54, 0x55}  # geth has all of their price in the dynamic part
        constant = 0 if byte in dynamic else row.gas
        if height < row.pops:
            return f"stack underflow ({height} <=> {row.pops})", constant
        if height + row.pushes - row.pops > 1024:
            return f"stack limit reached {height} ({1024 + row.pops - row.pushes})", constant
        if error != "OutOfGasError":
            return WORDS[error], None
        if left < constant:
            return "out of gas", constant
        ends = [stack[at] + stack[size] for at, size in MEMORY.get(byte, ()) if stack[size]]
        if byte in (0x51, 0x52, 0x53):
            ends = [stack[0] + (1 if byte == 0x53 else 32)]
        if any(stack[size] >= MAX for _, size in MEMORY.get(byte, ())) or max(ends, default=0) >= MAX:
            return "gas uint64 overflow", constant
        if max(ends, default=0) > 0x1FFFFFFFE0:
            return "out of gas: gas uint64 overflow", constant
        if byte == 0x55 and left <= 2300:
            return "out of gas: not enough gas for reentrancy sentry", constant
        if byte in (0xF0, 0xF5) and self.fork >= Fork.SHANGHAI and stack[2] > 49152:
            return f"out of gas: max initcode size exceeded: code size {stack[2]} limit 49152", constant
        return "out of gas", None

    # Lines

    def line(self, pc: int, byte: int, gas: int, depth: int, stack: tuple[int, ...], memory: bytes, *more: Any) -> None:
        returned, slot = more
        shown: dict[str, Any] = {"pc": pc, "op": name_of(byte), "gas": gas, "depth": depth}
        shown["stack"] = [hex(word) for word in stack]
        if memory:
            shown["memory"] = [hexed(memory[at : at + 32]) for at in range(0, len(memory), 32)]
        if returned:
            shown["returnData"] = hexed(returned)
        if slot is not None and (byte == 0x54 or len(stack) > 1):
            owner, key, value = slot
            slots = self.slots.setdefault(owner, {})
            slots[f"0x{key:064x}"] = f"0x{stack[-2] if byte == 0x55 else value:064x}"
            shown["storage"] = dict(slots)
        self.lines.append(shown)

    def paid(self, cost: int) -> None:
        self.lines[-1]["gasCost"] = cost


def name_of(byte: int) -> str:
    """Geth's name of an opcode of these forks."""
    if byte == 0x44:
        return "DIFFICULTY"
    rows = opcodes(Fork.OSAKA)
    coming = {0x4B: "SLOTNUM", 0xE6: "DUPN", 0xE7: "SWAPN", 0xE8: "EXCHANGE"}
    return rows[byte].name if byte in rows else coming.get(byte, f"opcode {byte:#x} not defined")


def drop_logs(node: dict[str, Any]) -> None:
    node.pop("logs", None)
    for call in node.get("calls", ()):
        drop_logs(call)


def flat(node: dict[str, Any], address: tuple[int, ...] = ()) -> list[dict[str, Any]]:
    """The tree as geth's flatCallTracer writes it, precompiled contracts included."""
    calls, kind = node.get("calls", []), node["type"]
    value = node.get("value", "0x0")
    entry: dict[str, Any] = {"subtraces": len(calls), "traceAddress": list(address)}
    entry |= {"blockHash": None, "blockNumber": 0, "transactionHash": None, "transactionPosition": 0}
    if kind == "SELFDESTRUCT":
        entry["type"] = "suicide"
        entry["action"] = {"address": node["from"], "refundAddress": node["to"], "balance": value}
    elif kind.startswith("CREATE"):
        entry["type"] = "create"
        entry["action"] = {"creationMethod": kind.lower(), "from": node["from"], "gas": node["gas"], "value": value}
        entry["action"]["init"] = node["input"]
        entry["result"] = {"gasUsed": node["gasUsed"], "code": node.get("output", "0x")}
        if "to" in node:
            entry["result"]["address"] = node["to"]
    else:
        entry["type"] = "call"
        entry["action"] = {"callType": kind.lower(), "from": node["from"], "gas": node["gas"], "value": value}
        entry["action"] |= {"to": node["to"], "input": node["input"]}
        entry["result"] = {"gasUsed": node["gasUsed"], "output": node.get("output", "0x")}
    if "error" in node:
        entry["error"] = node["error"]
        if node["error"] != "execution reverted":
            entry.pop("result", None)
    return [entry, *(found for place, call in enumerate(calls) for found in flat(call, (*address, place)))]
