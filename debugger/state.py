"""The full state at a position as plain data, in pages that say how much they leave out."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from itertools import islice
from typing import NamedTuple, TypeVar

import msgspec

from chain.forks import Fork
from chain.receipts import Log
from chain.types import Address
from debugger.errors import InvalidProgram
from debugger.hex import code_hash, hex_of, word_text
from debugger.limits import DIGEST_ENTRIES, DIGEST_MEMORY, PAGE_ENTRIES, PAGE_MAX, PAGE_MEMORY, PAGE_STACK
from debugger.outcome import HaltState
from debugger.position import FrameView, calldata_of
from vm.evm.execution import Execution
from vm.evm.layout import Field
from vm.evm.opcodes import opcodes

T = TypeVar("T")


class Window(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The requested part of a long field."""

    offset: int = 0
    limit: int = PAGE_ENTRIES


class StateQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Which frame (None: the running one, 0: the outermost) and which pages of a state."""

    frame: int | None = None
    stack: Window = Window(0, PAGE_STACK)
    """Counted from the bottom."""
    memory: Window = Window(0, PAGE_MEMORY)
    """Bytes."""
    return_data: Window = Window(0, PAGE_MEMORY)
    calldata: Window = Window(0, PAGE_MEMORY)
    storage: Window = Window()
    transient_storage: Window = Window()
    logs: Window = Window()
    call_frames: Window = Window()


class Page(msgspec.Struct, frozen=True):
    """Which part of a field is shown: ``count`` of ``total`` entries from ``offset`` on."""

    offset: int
    count: int
    total: int


class LogState(msgspec.Struct, frozen=True):
    """A log."""

    address: str
    topics: list[str]
    data: str


class CallFrame(msgspec.Struct, frozen=True, rename="camel"):
    """A frame of the call stack."""

    depth: int
    kind: str
    caller: str
    address: str
    """The account whose storage it uses."""
    code_address: str
    code_hash: str
    """With ``kind`` it identifies the code, init code or runtime code."""
    value: str
    pc: int
    opcode: str
    gas_left: int
    gas_given: int
    calldata_size: int
    is_static: bool


class State(msgspec.Struct, frozen=True, rename="camel"):
    """The state at a position; field names as in the API."""

    pc: int
    opcode: str
    gas_left: int
    depth: int
    """Frames on the call stack, 1 in the outermost; at the end that of the last frame, 1."""
    stack: list[str]
    """The top last."""
    memory: str
    storage: dict[str, str]
    """Slots of the running account that the run has read or written so far, ascending."""
    transient_storage: dict[str, str]
    """Slots of the running account that are not zero, ascending."""
    logs: list[LogState]
    return_data: str
    call_frames: list[CallFrame]
    """The outermost first."""
    step: int
    halt: HaltState | None
    code_size: int
    pages: dict[str, Page]
    """Pages of stack, memory, returnData, calldata, storage, transientStorage, logs and callFrames."""
    calldata: str
    """Calldata of the frame; empty in init code."""


def opcode_name(op: int, fork: Fork) -> str:
    """The opcode's name, ``UNKNOWN_xx`` if the fork has none."""
    row = opcodes(fork).get(op)
    return row.name if row is not None else f"UNKNOWN_{op:02x}"


def _page(items: Sequence[T], window: Window) -> tuple[Sequence[T], Page]:
    if window.offset < 0 or not 0 <= window.limit <= PAGE_MAX:
        raise InvalidProgram(f"a page begins at 0 or later and has at most {PAGE_MAX} entries")
    shown = items[window.offset : window.offset + window.limit]
    return shown, Page(window.offset, len(shown), len(items))


def call_frame(view: FrameView, depth: int, fork: Fork) -> CallFrame:
    """One line of the call stack."""
    message = view.message
    return CallFrame(
        depth,
        message.kind.name.lower(),
        hex_of(message.caller),
        hex_of(message.to),
        hex_of(message.code_address),
        hex_of(code_hash(view.code)),
        word_text(message.value),
        view.pc,
        opcode_name(view.op, fork),
        view.gas,
        message.gas,
        len(calldata_of(message)),
        message.is_static,
    )


def log_state(log: Log) -> LogState:
    """The log as plain data."""
    return LogState(hex_of(log.address), [hex_of(topic) for topic in log.topics], hex_of(log.data))


def _slots(slots: dict[int, int], window: Window) -> tuple[dict[str, str], Page]:
    shown, page = _page(sorted(slots.items()), window)
    return {word_text(slot): word_text(value) for slot, value in shown}, page


def _transients(execution: Execution, address: Address) -> dict[int, int]:
    return {slot: v for (owner, slot), v in execution.journal.transients().items() if owner == address}


class PlaceInCode(NamedTuple):
    """Where an execution is; fields as in `State`."""

    pc: int
    opcode: str
    gas_left: int
    depth: int


def read_place(execution: Execution, last: FrameView | None, frame: int | None = None) -> PlaceInCode:
    """The place in the running frame or another, at a cost that does not depend on what the run has done.

    ``last`` is the outermost frame once the run has ended.
    """
    frames, outcome = execution.frames, execution.outcome
    index = len(frames) - 1 if frame is None else frame
    view = FrameView.of(frames[index]) if frames else last
    return PlaceInCode(
        0 if view is None else view.pc,
        "STOP" if view is None else opcode_name(view.op, execution.fork),
        outcome.gas_left if outcome is not None else 0 if view is None else view.gas,
        index + 1 if frames else 1,
    )


def read_state(
    execution: Execution, last: FrameView | None, halt: HaltState | None, query: StateQuery
) -> State:
    """The state of an execution between two steps; ``last`` is the outermost frame once it has ended."""
    fork, journal = execution.fork, execution.journal
    frames = execution.frames
    index = len(frames) - 1 if query.frame is None else query.frame
    if frames and not 0 <= index < len(frames):
        raise InvalidProgram(f"frame {index} of {len(frames)}")
    view = FrameView.of(frames[index]) if frames else last
    address: Address | None = None if view is None else view.message.to
    pages: dict[str, Page] = {}
    words, pages["stack"] = _page([] if view is None else view.words, query.stack)
    memory, pages["memory"] = _page(b"" if view is None else view.memory, query.memory)
    output = b"" if view is None else view.returndata
    if execution.outcome is not None:
        output = execution.outcome.output
    returned, pages["returnData"] = _page(output, query.return_data)
    given, pages["calldata"] = _page(b"" if view is None else calldata_of(view.message), query.calldata)
    storage, pages["storage"] = _slots({} if address is None else journal.known_storage(address), query.storage)
    transient, pages["transientStorage"] = _slots(
        {} if address is None else _transients(execution, address), query.transient_storage
    )
    logs, pages["logs"] = _page(journal.logs, query.logs)
    shown, pages["callFrames"] = _page(frames, query.call_frames)
    first = query.call_frames.offset + 1
    return State(
        *read_place(execution, last, query.frame),
        [word_text(word) for word in words],
        hex_of(bytes(memory)),
        storage,
        transient,
        [log_state(log) for log in logs],
        hex_of(bytes(returned)),
        [call_frame(FrameView.of(frame), first + i, fork) for i, frame in enumerate(islice(shown, len(shown)))],
        execution.steps,
        halt,
        0 if view is None else len(view.code),
        pages,
        hex_of(bytes(given)),
    )


def state_digest(execution: Execution) -> bytes:
    """BLAKE2b-256 of everything later steps depend on: frames, state changes, logs, refund; the same for equal
    positions however they were reached."""
    digest = blake2b(digest_size=32)

    def put(*items: object) -> None:
        digest.update(repr(items).encode())

    put(execution.steps, execution.outcome)
    for frame in execution.frames:
        view = FrameView.of(frame)
        put(view.message, view.pc, view.gas, *frame.output_range)
        for part in (view.code, view.stack, view.memory, view.returndata):
            put(len(part))
            digest.update(part)
    journal = execution.journal
    delta = journal.delta()
    put(sorted(delta.accounts.items()), sorted(delta.wiped))
    put(sorted((address, sorted(slots.items())) for address, slots in delta.storage.items()))
    put(list(journal.logs), journal.refund)
    put(sorted(journal.transients().items()))
    return digest.digest()


def outline_digest(execution: Execution) -> bytes:
    """BLAKE2b-256 of the position without what the run has stored: frames, but not their memory, gas and refund.

    Like `state_digest` the same however the position was reached; its cost does not depend on what the run has done.
    """
    frames = [
        (
            frame.message.kind, frame.message.to, frame.message.code_address, frame.message.value, frame.message.gas,
            frame.code.length, frame.pc, frame.gas, frame.stack(),
            frame.words[Field.MEMORY_SIZE], len(frame.returndata),
        )
        for frame in execution.frames
    ]  # fmt: skip
    facts = ("outline", execution.steps, execution.outcome, frames, execution.journal.refund)
    return blake2b(repr(facts).encode(), digest_size=32).digest()


def is_small(execution: Execution) -> bool:
    """Whether `state_digest` takes at most a few milliseconds here."""
    memory = sum(frame.words[Field.MEMORY_SIZE] for frame in execution.frames)
    return memory <= DIGEST_MEMORY and execution.journal.entries() <= DIGEST_ENTRIES
