"""One frame: registers, environment, stack and memory of running code, reused from call to call."""

from __future__ import annotations

import ctypes
import struct
from typing import Final

from vm.code import Code, address_of
from vm.errors import SnapshotInvalid
from vm.evm.jit.entry_table import NO_ENTRIES, EntryTable, EntryTableAddresses
from vm.evm.layout import (
    ALIGNMENT,
    ENV_END,
    ENV_OFFSET,
    FRAME_BYTES,
    STACK_END,
    STACK_OFFSET,
    WORD_BYTES,
    Env,
    Field,
)
from vm.evm.memory_port import Allocate
from vm.limits import (
    GAS_MAX,
    MEMORY_BYTES,
    MEMORY_DOUBLED_BYTES,
    MEMORY_GROWTH,
    MEMORY_KEPT_BYTES,
    MEMORY_START_BYTES,
    STACK_ITEMS,
)
from vm.message import Message

_GAS: Final = int(Field.GAS)
_SP: Final = int(Field.SP)
_MEMORY_SIZE: Final = int(Field.MEMORY_SIZE)
_CALLER: Final = int(Field.CALLER)
_OUTPUT_OFFSET: Final = int(Field.OUTPUT_OFFSET)
_OUTPUT_LENGTH: Final = int(Field.OUTPUT_LENGTH)
_KNOWN: Final = int(Field.IS_KNOWN)
_RETURNDATA: Final = int(Field.RETURNDATA)
_RETURNDATA_LENGTH: Final = int(Field.RETURNDATA_LENGTH)

# One packing of all registers that a new frame needs, from PC to PROFILE.
_START: Final = struct.Struct("<25Qq4Q")
assert int(Field.PROFILE) + 1 == _START.size // 8


NativeStateRegisters = tuple[int, int, bool, int, int, int]
"""What a frame's registers from STATE to REFUND_MARK hold at its beginning."""

_SNAPSHOT: Final = struct.Struct("<4sHQQQQQQQQQQQQ")
_SNAPSHOT_MAGIC: Final = b"zvmF"
_SNAPSHOT_VERSION: Final = 1


class Frame:
    """Flat native memory with a Python face. Belongs to one thread at a time."""

    __slots__ = (
        "_allocate",
        "_buffer",
        "_memory_buffer",
        "address",
        "checkpoint",
        "code",
        "entry_table",
        "memory",
        "memory_address",
        "message",
        "returndata",
        "view",
        "words",
    )

    def __init__(self, allocate: Allocate) -> None:
        self._allocate = allocate
        self._buffer = allocate(FRAME_BYTES, ALIGNMENT)
        self.address = ctypes.addressof(self._buffer)
        self.view = memoryview(self._buffer).cast("B")
        """The whole frame as bytes; offsets are those of `vm.evm.layout`."""
        self.words = self.view[:ENV_OFFSET].cast("Q")
        """The registers, indexed by `Field`."""
        self.message: Message
        self.code: Code
        self.checkpoint = 0
        """Journal checkpoint to return to if the frame fails."""
        self.returndata = b""
        self.entry_table: EntryTable | None = None
        """Where the code's compiled functions are, kept alive while the frame runs."""
        self._allocate_memory(MEMORY_START_BYTES)

    def _allocate_memory(self, capacity: int) -> None:
        self._memory_buffer = self._allocate(capacity)
        self.memory = memoryview(self._memory_buffer).cast("B")
        """The memory with room to grow; beyond MEMORY_SIZE all bytes are zero."""
        self.memory_address = self.words[Field.MEMORY] = ctypes.addressof(self._memory_buffer)
        self.words[Field.MEMORY_CAPACITY] = capacity
        self.words[Field.MEMORY_SIZE] = 0

    def start(
        self,
        message: Message,
        code: Code,
        data: bytes,
        table: int,
        plain_table: int,
        steps: int,
        environment: bytes,
        native_state: NativeStateRegisters,
        entries: EntryTableAddresses = NO_ENTRIES,
        caller: int = 0,
    ) -> None:
        """Begin at pc 0, stack and memory empty. ``environment`` holds the words from ``Env.ORIGIN`` on."""
        self.message = message
        self.code = code
        self.returndata = b""
        self._clear_memory()
        words = self.words
        words[_CALLER] = caller
        words[_OUTPUT_OFFSET] = words[_OUTPUT_LENGTH] = 0
        words[_KNOWN] = 1
        _START.pack_into(
            self.view,
            0,
            0,
            message.gas,
            STACK_OFFSET,
            steps,
            code.address,
            code.length,
            code.jump_map,
            address_of(data),
            len(data),
            0,
            0,
            self.memory_address,
            0,
            len(self.memory),
            0,
            0,
            0,
            table,
            plain_table,
            message.is_static,
            *native_state,
            *entries,
        )
        self.view[ENV_OFFSET:ENV_END] = b"".join(
            (
                message.to[::-1],
                _ADDRESS_PADDING,
                message.caller[::-1],
                _ADDRESS_PADDING,
                message.value.to_bytes(32, "little"),
                environment,
            )
        )

    def finish(self, kept: int = MEMORY_KEPT_BYTES) -> None:
        """Make the frame ready for reuse: memory zero again where it was used, at most ``kept`` bytes of it."""
        if len(self.memory) > kept:
            self._allocate_memory(MEMORY_START_BYTES)
        else:
            self._clear_memory()
        self.returndata = b""
        self.entry_table = None

    def _clear_memory(self) -> None:
        used = self.words[_MEMORY_SIZE]
        if used:
            ctypes.memset(self.memory_address, 0, used)
            self.words[_MEMORY_SIZE] = 0

    @property
    def gas(self) -> int:
        """Gas left."""
        return self.words[_GAS]

    @gas.setter
    def gas(self, gas: int) -> None:
        assert 0 <= gas <= GAS_MAX
        self.words[_GAS] = gas

    @property
    def pc(self) -> int:
        """Offset of the next opcode."""
        return self.words[Field.PC]

    @property
    def depth(self) -> int:
        """Words on the stack."""
        return (self.words[_SP] - STACK_OFFSET) // WORD_BYTES

    def peek(self, n: int = 0) -> int:
        """Stack word ``n`` from the top, 0 being the top."""
        at = self.words[_SP] - WORD_BYTES * (n + 1)
        assert at >= STACK_OFFSET
        return int.from_bytes(self.view[at : at + WORD_BYTES], "little")

    def operands(self, count: int, taken: int = 0) -> list[int]:
        """The top ``count`` words, the top first, fewer if there are fewer; ``taken`` of them lie above the top."""
        end = self.words[_SP] + WORD_BYTES * taken
        first = max(STACK_OFFSET, end - WORD_BYTES * count)
        return [
            int.from_bytes(self.view[at - WORD_BYTES : at], "little") for at in range(end, first, -WORD_BYTES)
        ]

    def stack(self, most: int = STACK_ITEMS) -> list[int]:
        """The stack's words, at most so many, the top last."""
        end = self.words[_SP]
        raw = self.view[max(STACK_OFFSET, end - WORD_BYTES * most) : end]
        return [int.from_bytes(raw[i : i + WORD_BYTES], "little") for i in range(0, len(raw), WORD_BYTES)]

    def environment(self, word: Env) -> int:
        """A word of the environment."""
        at = ENV_OFFSET + WORD_BYTES * word
        return int.from_bytes(self.view[at : at + WORD_BYTES], "little")

    @property
    def output_range(self) -> tuple[int, int]:
        """Offset and size of what the output of the last call fills in memory."""
        return self.words[Field.OUTPUT_OFFSET], self.words[Field.OUTPUT_LENGTH]

    @property
    def held_bytes(self) -> int:
        """What the memory takes; an estimate. Any thread."""
        capacity = len(self.memory)
        return capacity if capacity < MEMORY_KEPT_BYTES else self.words[_MEMORY_SIZE]  # mapped as it is used

    def memory_bytes(self) -> bytes:
        """All memory in use."""
        return bytes(self.memory[: self.words[_MEMORY_SIZE]])

    def result(self) -> bytes:
        """The output RETURN or REVERT pointed at."""
        start = self.words[Field.RESULT_OFFSET]
        return bytes(self.memory[start : start + self.words[Field.RESULT_LENGTH]])

    def set_returndata(self, data: bytes) -> None:
        """What RETURNDATASIZE and RETURNDATACOPY see."""
        words = self.words
        self.returndata = data
        words[_RETURNDATA_LENGTH] = len(data)
        if data:
            words[_RETURNDATA] = address_of(data)

    def grow(self) -> bool:
        """After `Exit.GROW`: give the memory room. False if it would exceed `MEMORY_BYTES`."""
        wanted = self.words[Field.RESULT_OFFSET]
        if wanted > MEMORY_BYTES:
            return False
        before, used = self.memory, self.words[_MEMORY_SIZE]
        capacity = len(before)
        while capacity < wanted:
            capacity *= MEMORY_GROWTH if capacity < MEMORY_DOUBLED_BYTES else 2
        self._allocate_memory(capacity)
        self.memory[:used] = before[:used]
        self.words[_MEMORY_SIZE] = used
        return True

    def head(self) -> bytes:
        """The beginning of a `snapshot`: registers, environment and stack."""
        words = self.words
        return b"".join(
            (
                _SNAPSHOT.pack(
                    _SNAPSHOT_MAGIC,
                    _SNAPSHOT_VERSION,
                    words[Field.PC],
                    words[Field.GAS],
                    words[Field.SP],
                    words[Field.STEPS],
                    words[Field.MEMORY_SIZE],
                    words[Field.MEMORY_COST],
                    words[Field.RESULT_OFFSET],
                    words[Field.RESULT_LENGTH],
                    words[Field.STATIC],
                    self.code.length,
                    len(self.message.data),
                    len(self.returndata),
                ),
                self.view[ENV_OFFSET:ENV_END],
                self.view[STACK_OFFSET : words[Field.SP]],
            )
        )

    def snapshot(self) -> bytes:
        """The frame as plain data: registers, environment, stack, memory, return data; not the code."""
        return b"".join((self.head(), self.memory[: self.words[Field.MEMORY_SIZE]], self.returndata))

    def restore(self, snapshot: bytes) -> None:
        """Return to a snapshot of a frame with the same message and code. Raises `SnapshotInvalid`."""
        try:
            magic, version, *fields = _SNAPSHOT.unpack_from(snapshot)
        except struct.error as error:
            raise SnapshotInvalid("too short") from error
        if (magic, version) != (_SNAPSHOT_MAGIC, _SNAPSHOT_VERSION):
            raise SnapshotInvalid(f"not a frame of version {_SNAPSHOT_VERSION}")
        (
            pc,
            gas,
            sp,
            steps,
            memory_size,
            memory_cost,
            result_at,
            result_length,
            static,
            code_length,
            data_length,
            returned,
        ) = fields
        if code_length != self.code.length or data_length != len(self.message.data):
            raise SnapshotInvalid("of a frame with other code or calldata")
        if (
            not STACK_OFFSET <= sp <= STACK_END
            or (sp - STACK_OFFSET) % WORD_BYTES
            or memory_size > MEMORY_BYTES
        ):
            raise SnapshotInvalid("stack or memory out of range")
        if pc > code_length + WORD_BYTES + 1 or gas > GAS_MAX or memory_size % WORD_BYTES or static > 1:
            raise SnapshotInvalid("registers out of range")
        at_stack = _SNAPSHOT.size + ENV_END - ENV_OFFSET
        at_memory = at_stack + sp - STACK_OFFSET
        at_returned = at_memory + memory_size
        if len(snapshot) != at_returned + returned:
            raise SnapshotInvalid("wrong length")
        words = self.words
        ctypes.memset(self.memory_address, 0, words[Field.MEMORY_SIZE])
        words[Field.MEMORY_SIZE] = 0
        words[Field.RESULT_OFFSET] = memory_size
        self.grow()
        for field, value in (
            (Field.PC, pc),
            (Field.GAS, gas),
            (Field.SP, sp),
            (Field.STEPS, steps),
            (Field.MEMORY_SIZE, memory_size),
            (Field.MEMORY_COST, memory_cost),
            (Field.RESULT_OFFSET, result_at),
            (Field.RESULT_LENGTH, result_length),
            (Field.STATIC, static),
        ):
            words[field] = value
        self.view[ENV_OFFSET:ENV_END] = snapshot[_SNAPSHOT.size : at_stack]
        self.view[STACK_OFFSET:sp] = snapshot[at_stack:at_memory]
        self.memory[:memory_size] = memoryview(snapshot)[at_memory:at_returned]
        self.set_returndata(snapshot[at_returned:])


_ADDRESS_PADDING: Final = bytes(12)
