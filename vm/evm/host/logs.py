"""LOG0 to LOG4 where the native state has no room for the log, which has been paid for."""

from __future__ import annotations

from typing import Final

from chain.receipts import Log
from chain.types import Hash32
from vm.evm.frame import Frame
from vm.evm.host.protocol import Handler, OpcodeHost
from vm.evm.layout import Field
from vm.message import Halt

SP: Final = int(Field.SP)


def _log(topics: int) -> Handler:
    top = 32 * (topics + 1)

    def log(run: OpcodeHost, frame: Frame) -> Halt | None:
        sp, view = frame.words[SP], frame.view
        size = int.from_bytes(view[sp + top - 32 : sp + top - 24], "little")
        start = int.from_bytes(view[sp + top : sp + top + 8], "little") if size else 0
        # The last topic lies lowest, and each is little-endian: reversed as a whole they come in order.
        raw = bytes(view[sp : sp + 32 * topics])[::-1]
        record = Log(
            frame.message.to,
            tuple([Hash32(raw[i : i + 32]) for i in range(0, 32 * topics, 32)]),
            bytes(frame.memory[start : start + size]),
        )
        run.flush_to_journal()
        run.journal.emit(record)
        if run.tracer is not None:
            run.tracer.log(record, len(run.journal.logs) - 1)
        return None

    return log


HANDLERS: Final[dict[str, Handler]] = {f"LOG{n}": _log(n) for n in range(5)}
