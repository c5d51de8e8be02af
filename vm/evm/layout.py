"""Where everything lies inside a frame: the one description that native code and Python both use.

A frame is `FRAME_BYTES` flat bytes, 64-byte aligned: `Field` registers of eight bytes, `Env` words of 32
bytes, scratch space, and the stack, whose words are little-endian. ``sp`` is the byte offset of the first
free stack slot.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from vm.limits import STACK_ITEMS


class Field(IntEnum):
    """Index of an eight-byte register."""

    PC = 0
    GAS = 1
    SP = 2
    STEPS = 3
    """Opcodes the step table may still run."""
    CODE = 4
    CODE_LENGTH = 5
    JUMP_MAP = 6
    """One byte per code byte, 1 where a jump may land."""
    CALLDATA = 7
    CALLDATA_LENGTH = 8
    RETURNDATA = 9
    RETURNDATA_LENGTH = 10
    MEMORY = 11
    MEMORY_SIZE = 12
    """Bytes, a multiple of 32."""
    MEMORY_CAPACITY = 13
    MEMORY_COST = 14
    """Gas already paid for the memory."""
    RESULT_OFFSET = 15
    """Where the output of RETURN and REVERT begins in memory; the wanted size when the memory must grow."""
    RESULT_LENGTH = 16
    TABLE = 17
    """Dispatch table of the current mode."""
    PLAIN_TABLE = 18
    """Dispatch table the other modes continue with."""
    STATIC = 19
    WARM_STORAGE = 20
    """The table of warm storage slots (`SlotEntry`)."""
    STORAGE_TAG = 21
    """Entries with this tag are slots of this frame's account."""
    TARGETS = 22
    """Two bytes per code byte: the index of the function for a jump there (`vm.evm.jit.maps`)."""
    ENTRIES = 23
    """Two bytes per code byte: the index of the function to resume with there; null without compiled code."""
    FUNCTIONS = 24
    """Addresses of functions by index."""
    PROFILE = 25
    """Counters of four bytes by the same index: how often a JUMPDEST was interpreted."""
    BREAKPOINTS = 26
    """Control block of the mode (`vm.evm.watch`)."""
    STORAGE_ENTRY = 27
    """Offset in the table of the entry that SLOAD or SSTORE last looked at."""


POINTER_FIELDS: Final = (
    Field.CODE,
    Field.JUMP_MAP,
    Field.CALLDATA,
    Field.RETURNDATA,
    Field.MEMORY,
    Field.TABLE,
    Field.PLAIN_TABLE,
    Field.WARM_STORAGE,
    Field.TARGETS,
    Field.ENTRIES,
    Field.FUNCTIONS,
    Field.PROFILE,
    Field.BREAKPOINTS,
)
"""Registers that mean nothing in another process: a snapshot leaves them out."""


class Env(IntEnum):
    """Index of a 32-byte word the environment opcodes read. From `ORIGIN` on they last a transaction."""

    ADDRESS = 0
    CALLER = 1
    CALLVALUE = 2
    ORIGIN = 3
    GASPRICE = 4
    COINBASE = 5
    TIMESTAMP = 6
    NUMBER = 7
    PREVRANDAO = 8
    """Difficulty before Paris."""
    GASLIMIT = 9
    CHAINID = 10
    BASEFEE = 11
    BLOBBASEFEE = 12


WORD_BYTES: Final = 32
ENV_OFFSET: Final = 256
TRANSACTION_ENV_OFFSET: Final = ENV_OFFSET + WORD_BYTES * Env.ORIGIN
ENV_END: Final = ENV_OFFSET + WORD_BYTES * len(Env)
SCRATCH_OFFSET: Final = 704
"""320 bytes native helpers may use within one opcode."""
STACK_OFFSET: Final = 1024
STACK_END: Final = STACK_OFFSET + WORD_BYTES * STACK_ITEMS
FRAME_BYTES: Final = STACK_END
ALIGNMENT: Final = 64


class SlotTable(IntEnum):
    """Byte offsets in the table of warm slots: a cache with one place per hash, and what to write back."""

    DIRTY_COUNT = 0
    REFUND = 8
    """Signed change of the refund counter that has not reached the journal."""
    DIRTY_LIST = 64
    """Offsets of the dirty entries, four bytes each."""
    ENTRIES = 64 + 4 * 1024


class SlotEntry(IntEnum):
    """Byte offsets in an entry. An entry with the frame's tag is warm, and its value current."""

    TAG = 0
    DIRTY = 8
    SLOT = 32
    VALUE = 64
    ORIGINAL = 96
    """Value when the transaction began (EIP-2200)."""


SLOT_ENTRY_BYTES: Final = 128
SLOT_INDEX_BITS: Final = 10
SLOT_TABLE_BYTES: Final = SlotTable.ENTRIES + (SLOT_ENTRY_BYTES << SLOT_INDEX_BITS)


class Exit(IntEnum):
    """Why native code came back, besides the numbers of `vm.message.Halt` (below 64)."""

    GROW = 128
    """The memory buffer is too small for RESULT_OFFSET bytes; nothing of the opcode has happened."""
    STEP = 129
    """The step counter is used up; pc is the next opcode's."""
    BREAK = 130
    """A watched place or gas is reached; pc is the next opcode's, which has not been counted."""
    HOST = 256
    """Plus the opcode byte: gas, pc and sp are those after the opcode; its operands still lie above sp."""


assert 8 * len(Field) <= ENV_OFFSET
assert ENV_END <= SCRATCH_OFFSET
