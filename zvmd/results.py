"""Results: what a node answers, as typed and frozen objects.

Where JSON-RPC has a QUANTITY a result has a `Quantity`, an ``int`` that prints as hex; where it has DATA a result has
`Data`, ``bytes`` that print as hex. Names follow Python: ``gasLeft`` is ``gas_left``::

    >>> position = result_of(Position, {
    ...     "step": 2, "pc": 4, "opcode": "ADD", "gasLeft": 994, "depth": 1, "halt": None, "branch": 0, "reason": "step"
    ... })
    >>> position.gas_left, position.halt, position.breakpoints
    (994, None, ())

``result.json`` is the JSON that the node sent, complete: also what a node of a later version adds, and what goes into
``json.dumps``.

Earlier versions of the SDK returned that JSON as a ``dict``. So ``result["gasLeft"]``, ``result.get("gasLeft")`` and
``dict(result)`` still read from it, with a `DeprecationWarning`: use the attribute, or ``result.json["gasLeft"]``.

See also `zvmd.frames` for receipts, logs, heads and pending transactions, which come as binary messages over QUIC.
"""

from __future__ import annotations

import warnings
from collections.abc import ItemsView, KeysView
from typing import Any, TypeVar

import msgspec

Json = dict[str, Any]
ResultT = TypeVar("ResultT", bound="JsonResult")


class Quantity(int):
    """A number that JSON-RPC sends in hex: an ``int`` that prints so.

    >>> Quantity(255), Quantity(255) + 1
    (0xff, 256)
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return hex(self)


class Data(bytes):
    """Bytes that JSON-RPC sends in hex: an address, a hash, memory. They print so.

    >>> Data(b"\\x01\\xff")
    0x01ff
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "0x" + self.hex()


class JsonPart(msgspec.Struct, frozen=True, rename="camel"):
    """A part of a result."""


class JsonResult(msgspec.Struct, frozen=True, rename="camel", dict=True):
    """An answer of a node. Compares by its fields; cannot be changed."""

    @property
    def json(self) -> Json:
        """The answer as the node sent it."""
        sent: Json | None = self.__dict__.get("json")
        if sent is None:
            raise AttributeError(f"this {type(self).__name__} does not come from a node")
        return sent

    def _as_dict(self) -> Json:
        name = type(self).__name__
        warnings.warn(f"use the attributes of zvmd.results.{name}, or its json", DeprecationWarning, stacklevel=3)
        return self.json

    def __getitem__(self, name: str) -> Any:
        return self._as_dict()[name]

    def __contains__(self, name: object) -> bool:
        return name in self._as_dict()

    def get(self, name: str, default: Any = None) -> Any:
        """As of a dict: deprecated, see `zvmd.results`."""
        return self._as_dict().get(name, default)

    def keys(self) -> KeysView[str]:
        """As of a dict: deprecated, see `zvmd.results`."""
        return self._as_dict().keys()

    def items(self) -> ItemsView[str, Any]:
        """As of a dict: deprecated, see `zvmd.results`."""
        return self._as_dict().items()


def result_of(kind: type[ResultT], sent: Json) -> ResultT:
    """An answer as an object. Raises `msgspec.ValidationError` if a node sends something else."""
    result = msgspec.convert(sent, kind, str_keys=True, dec_hook=_decoded)
    result.__dict__["json"] = sent
    for field in msgspec.structs.fields(result):
        inner = getattr(result, field.name)
        if isinstance(inner, JsonResult):
            inner.__dict__["json"] = sent[field.encode_name]
    return result


def _decoded(kind: type, sent: Any) -> Any:
    if kind is Quantity:
        return Quantity(sent, 16) if isinstance(sent, str) else Quantity(sent)
    if kind is Data:
        return Data.fromhex(sent[2:])
    raise NotImplementedError(kind)


# The chain


class Fate(JsonResult, frozen=True):
    """What became of a transaction, as ``zvmd_transactionFate`` answers. See `zvmd.Client.fate`."""

    hash: Data
    status: str
    """mined, waiting, replaced, dropped, reverted (a development call took its block back) or unknown."""
    reason: str | None = None
    """Why it was dropped, in words."""
    block_number: Quantity | None = None
    """If it is mined."""
    replaced_by: Data | None = None
    """Hash of the transaction with its sender and nonce that took its place."""


class Block(JsonResult, frozen=True):
    """A block without its transactions' contents, as ``eth_getBlockByNumber`` answers. See `zvmd.Client.block`."""

    number: Quantity
    hash: Data | None
    """None for the pending block."""
    parent_hash: Data
    timestamp: Quantity
    """Seconds since 1970."""
    miner: Data | None
    gas_limit: Quantity
    gas_used: Quantity
    state_root: Data
    transactions_root: Data
    receipts_root: Data
    extra_data: Data
    transactions: tuple[Data, ...]
    """Hashes."""
    base_fee_per_gas: Quantity | None = None
    """Wei (EIP-1559)."""
    blob_gas_used: Quantity | None = None
    excess_blob_gas: Quantity | None = None


class HeadPosition(JsonPart, frozen=True):
    """The newest durable block."""

    number: int
    hash: Data


class LogPositions(JsonPart, frozen=True):
    """Log sequence numbers (LSN) of the write-ahead log."""

    first_lsn: int
    """LSN of the oldest record that is kept."""
    last_lsn: int
    """LSN of the newest record written."""
    durable_lsn: int
    """All records up to it survive a power failure."""
    checkpoint_lsn: int
    """All records up to it are in the state store."""


class Status(JsonResult, frozen=True):
    """How a node is doing, as ``zvmd_status`` answers. See `zvmd.Client.status`; ``json`` has counters and jobs."""

    chain_id: int
    version: str
    read_only: bool
    """The disk is full: changes are refused until there is room."""
    pool_transactions: int
    automine: bool
    interval_seconds: float
    """Between blocks made by the clock; 0: none are."""
    head: HeadPosition
    log: LogPositions


# Debug sessions


class HaltState(JsonPart, frozen=True):
    """The end of a run, or of one message."""

    reason: str
    """stop, return, selfdestruct, revert, out_of_gas, ..."""
    success: bool
    gas_left: int
    output: Data = Data()
    """Return or revert data."""
    message: str | None = None
    """What a revert says, decoded."""
    created: Data | None = None
    """Address of the contract that was created."""
    gas_used: int | None = None
    """Gas that a transaction paid for, including refunds and intrinsic gas."""


class Position(JsonResult, frozen=True):
    """Where a session is: every move of `zvmd.Session` returns it."""

    step: int
    """Operations executed since the start, of all frames."""
    pc: int
    opcode: str
    """Name of the operation that comes next."""
    gas_left: int
    depth: int
    """Frames on the call stack: 1 in the outermost."""
    halt: HaltState | None
    """None while the run has not ended."""
    branch: int
    """0, or the branch that an edit began."""
    reason: str | None = None
    """Why it stopped: step, seek, breakpoint, halt, start, paused, limit, edit, branch, reset or loaded."""
    breakpoints: tuple[int, ...] = ()
    """Numbers of the breakpoints that hold here."""


class Page(JsonPart, frozen=True):
    """Which part of something long a state shows: from ``offset`` on ``count`` of ``total``."""

    offset: int
    count: int
    total: int


class SessionLog(JsonPart, frozen=True):
    """A log that the run has emitted."""

    address: Data
    topics: tuple[Data, ...]
    data: Data


class CallFrame(JsonPart, frozen=True):
    """A frame of the call stack."""

    depth: int
    kind: str
    """call, staticcall, delegatecall, callcode, create or create2."""
    caller: Data
    address: Data
    """Whose storage it uses."""
    code_address: Data
    code_hash: Data
    value: Quantity
    """Wei."""
    pc: int
    opcode: str
    gas_left: int
    gas_given: int
    calldata_size: int
    """Bytes."""
    is_static: bool


class State(JsonResult, frozen=True):
    """All there is to see at a position, for one frame: see `zvmd.Session.state`."""

    step: int
    pc: int
    opcode: str
    gas_left: int
    depth: int
    halt: HaltState | None
    stack: tuple[Quantity, ...]
    """The top last."""
    memory: Data
    calldata: Data
    """Calldata of the frame; empty in init code."""
    return_data: Data
    """Return data of the last call; at the end of the run, its output."""
    storage: dict[Quantity, Quantity]
    """Slots of the running account that the run has read or written so far, ascending."""
    transient_storage: dict[Quantity, Quantity]
    """Slots of the running account that are not zero, ascending (EIP-1153)."""
    logs: tuple[SessionLog, ...]
    call_frames: tuple[CallFrame, ...]
    """The outermost first."""
    code_size: int
    """Bytes."""
    pages: dict[str, Page]
    """What is shown of stack, memory, returnData, calldata, storage, transientStorage, logs and callFrames."""


class StepLine(JsonPart, frozen=True):
    """What a run was about to do at a step."""

    step: int
    pc: int
    opcode: str
    gas: int
    depth: int
    address: Data
    stack: tuple[Quantity, ...]
    """The top last."""
    memory_size: int
    """Bytes."""
    halt: HaltState | None = None


class Divergence(JsonPart, frozen=True):
    """The first step at which two runs differ, before it is executed."""

    step: int
    fields: tuple[str, ...]
    """What differs: pc, opcode, gas, depth, stack, memory, returnData, storage, logs, halt or outer frame."""
    left: StepLine
    right: StepLine
    before: tuple[StepLine, ...]
    """Steps that led there, the same in both runs except perhaps for gas."""
    notes: tuple[str, ...]
    """Where in stack or memory the first difference is."""


class Comparison(JsonResult, frozen=True):
    """Two runs beside each other: see `zvmd.Session.compare`."""

    is_equal: bool
    steps: int
    """Steps that are the same in both."""
    has_ended: bool
    """Both runs were followed to their ends, or to where they differ."""
    divergence: Divergence | None


class Difference(JsonPart, frozen=True):
    """A value on the left and on the right, as JSON has it; None where there is none."""

    left: str | None
    right: str | None


class StateDiff(JsonResult, frozen=True):
    """What differs between two positions: see `zvmd.Session.state_diff`."""

    accounts: dict[Data, dict[str, Difference]]
    """By address: balance, nonce, codeHash."""
    storage: dict[Data, dict[Quantity, Difference]]
    """By address and slot."""
    transient_storage: dict[Data, dict[Quantity, Difference]]
    stack: dict[int, Difference]
    """By place, counted from the bottom of the running frames' stacks."""
    memory: dict[int, Difference]
    """32-byte pieces by offset."""
    position: dict[str, Difference]
    """pc, opcode, gas, depth, logs, halt."""


class Share(JsonPart, frozen=True):
    """A share token that was given, without the token."""

    id: int
    role: str
    """watch or drive."""
    name: str
    expires: int
    """Seconds since 1970."""
    is_expired: bool


class Shares(JsonResult, frozen=True):
    """Who has a share token of a session: see `zvmd.Session.shares`."""

    driver: int | None
    """The share that has control; 0: the owner; None: nobody."""
    shares: tuple[Share, ...]


class Change(JsonPart, frozen=True):
    """A value before and after, as JSON has it; None where there was or is none."""

    before: str | None
    after: str | None


class Changes(JsonPart, frozen=True):
    """What a command changed. Stack and memory are shown only of a frame that is still the running one."""

    depth: tuple[int, int] | None = None
    """Frames before and after, if another frame runs now."""
    stack: dict[int, Change] = {}
    """By place, counted from the bottom."""
    memory: dict[int, Change] = {}
    """32-byte pieces by offset."""
    storage: dict[Quantity, Change] = {}
    """Slots of the running account."""
    transient_storage: dict[Quantity, Change] = {}
    logs: int = 0
    """Logs now less logs before."""
    omitted: int = 0
    """Further changes, not shown."""


class SessionChange(JsonResult, frozen=True):
    """A command that somebody gave to a session: see `zvmd.Session.watch`."""

    cursor: int
    """Resumes behind this change."""
    session: int
    command: str
    """As in the table of session commands; ``watch`` for the position that a stream begins with."""
    driver: str | None
    """owner, a share and its name, or None."""
    position: Position | None = None
    """Where the session is after it."""
    changed: Changes | None = None
    result: Any = None
    """What a command that is not a move was answered."""
    missed: int | None = None
    """Changes behind the cursor that the node no longer keeps."""


class SessionEntry(JsonResult, frozen=True):
    """A session in a list: see `zvmd.find_sessions`."""

    id: int
    name: str
    tags: tuple[str, ...]
    fork: str
    position: int
    """Its step."""
    halt: str | None
    """Reason of the run's end; None if it has not ended there."""
    code_hash: Data | None
    contract: Data | None
    """The account whose code it debugs, if it is one of the chain."""
    transaction: Data | None
    """Hash, if it debugs one."""
    created: int
    """Seconds since 1970."""
    used: int
    """Seconds since 1970."""
    bytes: int
    """Size of its record."""
    pinned: bool


class TemplateEntry(JsonResult, frozen=True):
    """A template in a list: see `zvmd.Templates`."""

    name: str
    title: str
    tags: tuple[str, ...]
    own: bool
    """Saved by a user of this node, not one of the gallery."""


class Template(JsonResult, frozen=True):
    """A program to learn from, and how its run ends: see `zvmd.Templates`. ``json`` has its whole program."""

    name: str
    title: str
    explanation: str
    expected: dict[str, Any]
    """halt, and what else is checked: output, message, stack, memory, storage, logs, steps."""
    tags: tuple[str, ...] = ()
    own: bool = False
