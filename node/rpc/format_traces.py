"""Results of tracers in the JSON of geth's ``debug_trace*`` and of Parity's ``trace_*``.

Call trees are written without recursion: they have up to 1,025 levels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from chain.hashing import keccak256
from node.api.tracing import TraceOrigin
from node.rpc import deep_json
from node.rpc.format import Json, data, data_or_none, quantity, word
from node.tracers.calls import CallLog, TracedCall
from node.tracers.erc7562 import UserOperationCall
from node.tracers.flat_calls import FlatCall
from node.tracers.prestate import AccountPart, Prestate, StateDifference
from node.tracers.struct_logs import StructLog, StructLogTrace
from vm.evm.faults import REVERTED


def struct_logs(trace: StructLogTrace) -> Json:
    """Geth's ``ExecutionResult`` (``eth/tracers/logger/logger.go``)."""
    return {
        "gas": trace.gas_used,
        "failed": trace.failed,
        "returnValue": data(trace.output),
        "structLogs": list(map(struct_log, trace.lines)),
    }


def struct_log(line: StructLog) -> Json:
    """One entry of ``structLogs``."""
    shown: Json = {
        "pc": line.pc,
        "op": line.opcode,
        "gas": line.gas,
        "gasCost": line.gas_cost,
        "depth": line.depth,
    }
    if line.error is not None:
        shown["error"] = line.error
    if line.stack is not None:
        shown["stack"] = list(map(hex, line.stack))
    if line.return_data:
        shown["returnData"] = data(line.return_data)
    if line.memory:
        shown["memory"] = [data(line.memory[at : at + 32]) for at in range(0, len(line.memory), 32)]
    if line.storage is not None:
        shown["storage"] = {word(slot): word(value) for slot, value in line.storage.items()}
    if line.refund:
        shown["refund"] = line.refund
    return shown


def struct_log_size(line: StructLog) -> int:
    """Bytes of the line as geth writes it, with HTML's special characters escaped."""
    raw = msgspec.json.encode(struct_log(line))
    return len(raw) + 5 * sum(map(raw.count, (b"<", b">", b"&")))


def call_tree(root: TracedCall) -> Json:
    """Geth's callTracer (``eth/tracers/native/call.go``)."""
    return _tree(root, _call)


def user_operation(root: UserOperationCall) -> Json:
    """Geth's erc7562Tracer (``eth/tracers/native/erc7562.go``)."""
    keccak = {"keccak": list(map(data, root.preimages))} if root.preimages else {}
    return _tree(root, _user_operation_call) | keccak


def _tree(root: TracedCall, shown: Callable[[Any], Json]) -> Json:
    """Each call as ``shown``, with those that it made."""
    top = shown(root)
    waiting = [(root, top)]
    while waiting:
        call, node = waiting.pop()
        if call.calls:
            node["calls"] = list(map(shown, call.calls))
            waiting += zip(call.calls, node["calls"], strict=True)
    return top


def _call(call: TracedCall) -> Json:
    node: Json = {"type": call.kind, "from": data(call.sender)}
    if call.to is not None:
        node["to"] = data(call.to)
    node |= {"gas": quantity(call.gas), "gasUsed": quantity(call.gas_used), "input": data(call.input)}
    if call.value is not None:
        node["value"] = quantity(call.value)
    if call.logs:
        node["logs"] = list(map(_log, call.logs))
    if call.output:
        node["output"] = data(call.output)
    if call.error is not None:
        node["error"] = call.error
    if call.revert_reason:
        node["revertReason"] = call.revert_reason
    return node


def _log(log: CallLog) -> Json:
    return {
        "address": data(log.address),
        "topics": list(map(data, log.topics)),
        "data": data(log.data),
        "index": quantity(log.index),
        "position": quantity(log.position),
    }


def _user_operation_call(call: UserOperationCall) -> Json:
    return _call(call) | {
        "accessedSlots": {
            "reads": {word(slot): [word(value)] for slot, value in call.reads.items()},
            "writes": _counts(call.writes, word),
            "transientReads": _counts(call.transient_reads, word),
            "transientWrites": _counts(call.transient_writes, word),
        },
        "extCodeAccessInfo": list(map(data, call.ext_code_access)),
        "usedOpcodes": _counts(call.used_opcodes, quantity),
        "contractSize": {
            data(address): {"contractSize": found.size, "opcode": found.opcode}
            for address, found in call.contract_sizes.items()
        },
        "outOfGas": call.out_of_gas,
    }


def _counts(counts: dict[int, int], name: Callable[[int], str]) -> dict[str, int]:
    return {name(key): count for key, count in counts.items()}


def flat_calls(calls: list[FlatCall]) -> list[Json]:
    """Geth's flatCallTracer (``eth/tracers/native/call_flat.go``): a failed call has no result, a reverted one has."""
    return [_flat_call(flat, has_result=flat.call.error in (None, REVERTED)) for flat in calls]


def parity_calls(calls: list[FlatCall]) -> list[Json]:
    """Parity's ``trace_transaction``: as `flat_calls`, with null for no result."""
    return [{"result": None} | shown for shown in flat_calls(calls)]


def _flat_call(flat: FlatCall, *, has_result: bool) -> Json:
    call = flat.call
    kind, action, result = _action(call)
    shown: Json = {"type": kind, "action": action}
    if result is not None and has_result:
        shown["result"] = result
    shown |= {"subtraces": len(call.calls), "traceAddress": flat.address}
    if flat.error is not None:
        shown["error"] = flat.error
    return shown | _context(flat.place)


def _action(call: TracedCall) -> tuple[str, Json, Json | None]:
    """Type, action and result of a call."""
    value, used = quantity(call.value or 0), {"gasUsed": quantity(call.gas_used)}
    if call.kind == "SELFDESTRUCT":
        action = {"address": data(call.sender), "refundAddress": data_or_none(call.to), "balance": value}
        return "suicide", action, None
    action = {"from": data(call.sender), "gas": quantity(call.gas), "value": value}
    if call.kind in ("CREATE", "CREATE2"):
        action |= {"init": data(call.input), "creationMethod": call.kind.lower()}
        address = {} if call.to is None else {"address": data(call.to)}
        return "create", action, used | address | {"code": data(call.output)}
    action |= {"callType": call.kind.lower(), "to": data_or_none(call.to), "input": data(call.input)}
    return "call", action, used | {"output": data(call.output)}


def _context(place: TraceOrigin | None) -> Json:
    return {
        "blockHash": None if place is None else data(place.block_hash),
        "blockNumber": 0 if place is None else place.block_number,
        "transactionHash": None if place is None else data(place.transaction_hash),
        "transactionPosition": 0 if place is None else place.index,
    }


def prestate(found: Prestate | StateDifference) -> Json:
    """Geth's prestateTracer (``eth/tracers/native/prestate.go``)."""
    if isinstance(found, StateDifference):
        return {"pre": prestate(found.before), "post": prestate(found.after)}
    return {data(address): _account(part) for address, part in found.items()}


def _account(part: AccountPart) -> Json:
    fields = {
        "balance": None if part.balance is None else quantity(part.balance),
        "nonce": part.nonce,
        "codeHash": data_or_none(part.code_hash),
        "code": data_or_none(part.code),
        "storage": None if part.storage is None else {word(at): word(value) for at, value in part.storage.items()},
    }
    return {name: value for name, value in fields.items() if value is not None}


def selector_counts(counts: dict[tuple[bytes, int], int]) -> dict[str, int]:
    """Geth's 4byteTracer: calls by ``selector-size``."""
    return {f"{data(selector)}-{size}": count for (selector, size), count in counts.items()}


def preimages(found: list[bytes]) -> dict[str, str]:
    """Geth's keccak256PreimageTracer: preimages by hash."""
    return {data(keccak256(preimage)): data(preimage) for preimage in found}


def encoded_size(trace: Any) -> int:
    """Bytes of a trace in an answer."""
    try:
        return len(msgspec.json.encode(trace))
    except RecursionError:
        return len(deep_json.encode(trace))
