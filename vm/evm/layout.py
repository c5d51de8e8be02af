"""Where everything lies inside a frame: the one description that native code and Python both use.

A frame is `FRAME_BYTES` flat bytes, 64-byte aligned: `Field` registers of eight bytes, `Env` words of 32
bytes, and the stack, whose words are little-endian. ``sp`` is the byte offset of the first
free stack slot.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from vm.limits import BLOCK_HASH_WINDOW, STACK_ITEMS


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
    STATE = 20
    """Address of the `StateBlock`: the table of slots, what undoes changes, and the logs."""
    STORAGE_TAG = 21
    """Entries with this tag are slots of this frame's account, with the next its transient slots."""
    COMPLETE = 22
    """1 if every slot of the account that the table lacks is zero and cold."""
    UNDO_MARK = 23
    """How many changes the state block held when the frame began."""
    LOG_MARK = 24
    """How many bytes of logs the state block held when the frame began."""
    REFUND_MARK = 25
    """The refund of the state block when the frame began."""
    TARGETS = 26
    """Two bytes per code byte: the index of the function for a jump there (`vm.evm.jit.entry_table`)."""
    ENTRIES = 27
    """Two bytes per code byte: the index of the function to resume with there; null without compiled code."""
    FUNCTIONS = 28
    """Addresses of functions by index."""
    PROFILE = 29
    """Counters of four bytes by the same index: how often a JUMPDEST was interpreted."""
    BREAKPOINTS = 30
    """SteppingBlock block of the mode (`vm.evm.watch`)."""
    STORAGE_ENTRY = 31
    """The entry that a slot's opcode last looked at."""
    FREE_CELL = 32
    """Which cell of the table's index waits for the slot that was last missing."""
    OUTPUT_OFFSET = 33
    """Where in this frame's memory the output of the call it waits for goes."""
    OUTPUT_LENGTH = 34
    NEXT = 35
    """The frame that a call may use, null if there is none yet."""
    CALLER = 36
    """The frame to end into natively; null if Python ends this one."""
    IS_KNOWN = 37
    """0 if native code began the frame and Python has not seen it."""
    IS_JOURNALED = 38
    """Not 0 if the journal may hold changes of this frame, which native code cannot undo."""
    CALLEE = 39
    """Number of the `Callee` that native code began the frame for."""
    KIND = 40
    """And the `vm.message.CallKind`."""


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
ENV_OFFSET: Final = 512
TRANSACTION_ENV_OFFSET: Final = ENV_OFFSET + WORD_BYTES * Env.ORIGIN
ENV_END: Final = ENV_OFFSET + WORD_BYTES * len(Env)
STACK_OFFSET: Final = 1024
STACK_END: Final = STACK_OFFSET + WORD_BYTES * STACK_ITEMS
FRAME_BYTES: Final = STACK_END
ALIGNMENT: Final = 64


SLOTS_MAX: Final = 1 << 14
UNDO_MAX: Final = 1 << 14
CELL_BITS: Final = SLOTS_MAX.bit_length()
"""The index is never more than half full."""
LOG_BYTES: Final = 1 << 18
CALLEES_MAX: Final = 64
SLOT_BYTES: Final = 128
UNDO_BYTES: Final = 64
CALLEE_BYTES: Final = 128
BLOCK_HASH_BYTES: Final = 64
DIGEST_BYTES: Final = 128
DIGEST_BITS: Final = 10
MODULUS_BYTES: Final = 128
MODULUS_BITS: Final = 4


class StateBlock(IntEnum):
    """Byte offsets in the block that all frames of an execution share: state that native code keeps itself."""

    SLOTS = 0
    """How many entries there are."""
    UNDO = 8
    """How many changes can be undone."""
    LOGS_END = 16
    """Bytes of logs."""
    REFUND = 24
    """Signed change of the refund counter that has not reached the journal."""
    DEPTH = 32
    """How many frames there are."""
    BLOB_HASHES = 40
    """Address of a zero and, after it, the transaction's blob hashes, as little-endian words."""
    BLOB_COUNT = 48
    BALANCE_TAG = 56
    """Storage tag of the account that has `BALANCE`; -1 when none is known."""
    BALANCE = 64
    CALLEES = 128
    """What native code may call, by the low bits of the address."""
    INDEX = CALLEES + CALLEES_MAX * CALLEE_BYTES
    """Cells of four bytes by hash: the number of an entry, which names its cell, or else the cell is free."""
    ENTRIES = INDEX + (4 << CELL_BITS)
    CHANGES = ENTRIES + SLOTS_MAX * SLOT_BYTES
    LOGS = CHANGES + UNDO_MAX * UNDO_BYTES
    BLOCK_HASHES = LOGS + LOG_BYTES
    """What BLOCKHASH gave in this execution: a `BlockHash` by the low bits of the block's number."""
    DIGESTS = BLOCK_HASHES + BLOCK_HASH_WINDOW * BLOCK_HASH_BYTES
    """A `Digest` of two words by a hash of these, from any execution: a mapping's key is hashed again and again."""
    MODULI = DIGESTS + (DIGEST_BYTES << DIGEST_BITS)
    """A `Modulus` that MULMOD met by a hash of it, from any execution: field arithmetic uses one again and again."""
    END = MODULI + (MODULUS_BYTES << MODULUS_BITS)


class Slot(IntEnum):
    """Byte offsets in an entry."""

    TAG = 0
    UNDO = 8
    """The number, from 1, of the last change that can be undone; 0 for none."""
    CELL = 16
    COLD = 24
    """1 until the slot is paid for (EIP-2929)."""
    KEY = 32
    VALUE = 64
    ORIGINAL = 96
    """Value when the transaction began (EIP-2200)."""


class Callee(IntEnum):
    """Byte offsets in what native code knows of an account it may call."""

    ADDRESS = 0
    NUMBER = 32
    """From 1; 0 if there is none."""
    REGISTERS = 40
    """`CALLEE_FIELDS` as a frame of the account has them at its beginning."""


CALLEE_FIELDS: Final = (
    Field.CODE,
    Field.CODE_LENGTH,
    Field.JUMP_MAP,
    Field.STORAGE_TAG,
    Field.COMPLETE,
    Field.TARGETS,
    Field.ENTRIES,
    Field.FUNCTIONS,
    Field.PROFILE,
    Field.TABLE,
)


class UndoRecord(IntEnum):
    """Byte offsets in what undoes a change of an entry: where the entry is, and what it held before."""

    ENTRY = 0
    UNDO = 8
    COLD = 16
    VALUE = 32


class SteppingBlock(IntEnum):
    """Byte offsets in the operands of a stepping mode (`vm.evm.routines.modes`)."""

    GAS_BELOW = 0
    """Stop when less gas is left."""
    DIGEST = 8
    GAS_MASK = 16
    """All ones if the digest covers gas, else 0."""
    MARKS = 24
    """Address of a byte for each byte of code, not 0 where to stop."""
    SKIP = 32
    """Not 0 if the next opcode is to run unchecked."""
    AREA_START = 40
    AREA_END = 48
    """The area of memory that marks may ask for: its first byte, and the one behind its last."""
    SIZE = 56


class BlockHash(IntEnum):
    """Byte offsets in what native code knows of a block before this one."""

    AFTER = 0
    """Number of the block after it; 0 if there is none."""
    HASH = 32


class Digest(IntEnum):
    """Byte offsets in a known Keccak-256 hash of two words."""

    INPUT = 0
    VALUE = 64
    IS_KNOWN = 96
    """1; 0 if nothing is here."""


class Modulus(IntEnum):
    """Byte offsets in what native code knows of a modulus of four limbs."""

    MODULUS = 0
    """0 if nothing is here."""
    RECIPROCAL = 32
    """(2**512 - 1) // modulus in five limbs, the lowest first, from `MODULUS_USES` uses on."""
    USES = 72
    """How often it was met, at most `MODULUS_USES`."""


MODULUS_USES: Final = 3
"""Uses before the reciprocal is computed: it takes as long as a product modulo m without it."""


class LogRecord(IntEnum):
    """Byte offsets in a log; data follows the topics, and zeros to a multiple of 32."""

    TOPICS = 0
    """How many."""
    SIZE = 8
    """Bytes of data."""
    ADDRESS = 32
    FIRST_TOPIC = 64
    """Topics are big-endian."""


class Exit(IntEnum):
    """Why native code came back, besides the numbers of `vm.message.Halt` (below 64)."""

    GROW = 128
    """The memory buffer is too small for RESULT_OFFSET bytes; nothing of the opcode has happened."""
    STEP = 129
    """The step counter is used up; pc is the next opcode's."""
    BREAK = 130
    """A watched place or gas is reached; pc is the next opcode's, which has not been counted."""
    SLOT = 131
    """The table lacks the slot on top of the stack, or is full; nothing of the opcode has happened."""
    TRANSIENT = 132
    """The same for a transient slot."""
    STOPPED = 133
    """Another thread wants the execution to end; pc is the next opcode's (`vm.interruption`)."""
    HOST = 256
    """Plus the opcode byte: gas, pc and sp are those after the opcode; its operands still lie above sp."""


assert 8 * len(Field) <= ENV_OFFSET
assert Digest.IS_KNOWN + 8 <= DIGEST_BYTES
assert Modulus.USES + 8 <= MODULUS_BYTES
assert StateBlock.DIGESTS % ALIGNMENT == 0
assert Callee.REGISTERS + 8 * len(CALLEE_FIELDS) <= CALLEE_BYTES
assert ENV_END <= STACK_OFFSET
