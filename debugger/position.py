"""Reads one position of a run: the running frame, its account, and the frames around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vm.evm.execution import Execution
from vm.evm.frame import Frame
from vm.evm.layout import STACK_OFFSET, Env, Field
from vm.evm.opcodes import BY_NAME
from vm.message import CREATES, Message

_PC: Final = int(Field.PC)
_GAS: Final = int(Field.GAS)
_SP: Final = int(Field.SP)
_MEMORY_SIZE: Final = int(Field.MEMORY_SIZE)

SSTORE: Final = BY_NAME["SSTORE"].byte
SLOAD: Final = BY_NAME["SLOAD"].byte
LOGS: Final = frozenset(BY_NAME[f"LOG{n}"].byte for n in range(5))
CALLS: Final = frozenset(BY_NAME[n].byte for n in ("CALL", "CALLCODE", "DELEGATECALL", "STATICCALL"))


def calldata_of(message: Message) -> bytes:
    """The calldata of a message: none for a creation, whose data is its code."""
    return b"" if message.kind in CREATES else message.data


class Position:
    """A view of the running frame as it is now; it is invalid once the execution continues."""

    __slots__ = ("execution", "frame")

    def __init__(self, execution: Execution, frame: int = -1) -> None:
        """``frame`` is the frame to look at, 0 the outermost; by default the running one."""
        self.execution = execution
        self.frame: Frame = execution.frames[frame]

    @property
    def step(self) -> int:
        """Operations executed before."""
        return self.execution.steps

    @property
    def pc(self) -> int:
        """Offset of the next opcode."""
        return self.frame.words[_PC]

    @property
    def op(self) -> int:
        """Byte of the next opcode; STOP behind the code's end."""
        code = self.frame.code
        pc = self.frame.words[_PC]
        return code.padded[pc] if pc < code.length else 0

    @property
    def gas(self) -> int:
        """Gas left in the frame."""
        return self.frame.words[_GAS]

    @property
    def depth(self) -> int:
        """The frame's number, 1 for the outermost (EIP-3155)."""
        frames = self.execution.frames
        return len(frames) if self.frame is frames[-1] else frames.index(self.frame) + 1

    @property
    def is_fresh(self) -> bool:
        """Whether the frame has just begun."""
        return self.pc == 0 and self.gas == self.frame.message.gas

    @property
    def message(self) -> Message:
        """The message of the frame."""
        return self.frame.message

    @property
    def calldata(self) -> bytes:
        """What CALLDATALOAD reads; empty in init code."""
        return calldata_of(self.frame.message)

    @property
    def stack_size(self) -> int:
        """Words on the stack."""
        return (self.frame.words[_SP] - STACK_OFFSET) // 32

    @property
    def memory_size(self) -> int:
        """Bytes of memory."""
        return self.frame.words[_MEMORY_SIZE]

    def stack(self, n: int) -> int | None:
        """Stack word ``n`` from the top, None if there is none."""
        at = self.frame.words[_SP] - 32 * (n + 1)
        if at < STACK_OFFSET:
            return None
        return int.from_bytes(self.frame.view[at : at + 32], "little")

    def memory(self, start: int, stop: int) -> bytes:
        """Bytes of memory, zeros beyond its end."""
        end = min(stop, self.memory_size)
        return bytes(self.frame.memory[start:end]).ljust(stop - start, b"\0") if start < end else bytes(
            stop - start
        )

    def storage(self, slot: int) -> int:
        """A slot of the frame's account."""
        return self.execution.journal.storage(self.frame.message.to, slot)

    def environment(self, word: Env) -> int:
        """A word of the frame's environment."""
        return self.frame.environment(word)


@dataclass(frozen=True, slots=True)
class FrameView:
    """A copy of a frame's state."""

    message: Message
    code: bytes
    pc: int
    gas: int
    stack: bytes
    """Little-endian words, the top last."""
    memory: bytes
    returndata: bytes

    @classmethod
    def of(cls, frame: Frame) -> FrameView:
        """The frame's copy."""
        return cls(
            frame.message,
            frame.code.bytes,
            frame.pc,
            frame.gas,
            bytes(frame.view[STACK_OFFSET : frame.words[_SP]]),
            frame.memory_bytes(),
            frame.returndata,
        )

    @property
    def op(self) -> int:
        """Byte of the next opcode; STOP behind the code's end."""
        return self.code[self.pc] if self.pc < len(self.code) else 0

    @property
    def words(self) -> list[int]:
        """The stack, the top last."""
        raw = self.stack
        return [int.from_bytes(raw[i : i + 32], "little") for i in range(0, len(raw), 32)]

    @property
    def contents(self) -> tuple[object, ...]:
        """The values that comparisons use, except gas."""
        return self.pc, self.stack, self.memory, self.returndata

    @property
    def is_create(self) -> bool:
        """Whether it runs init code."""
        return self.message.kind in CREATES
