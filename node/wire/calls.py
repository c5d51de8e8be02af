"""The calls of one `zvmd.frames.CallMany`: all on the same block, answered together in one frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from chain.errors import ZvmdError
from node.api.errors import InvalidParams
from node.api.pending_block import BlockAt
from node.rpc.context import Context
from node.rpc.cost import ReadPrice, price_of_gas
from node.rpc.dispatch import internal_error
from node.rpc.errors import InternalError, RequestTooLarge
from node.rpc.methods.eth_state import call_checked
from node.rpc.read_run import Answer, ReadParts, ReadRun
from node.rpc.service import RpcService
from node.rpc.work import Work
from node.wire import codec
from vm.interruption import checkpoint
from zvmd.frames import (
    CallContract,
    CallDone,
    CallFailed,
    CallMany,
    encode_calls_done,
    encode_frame,
    encode_outcome,
)

ENCODED_BYTES: Final = 128 * 1024
"""Outcomes that are together larger are put into their frame on a reader thread."""


class ManyCalls:
    """Answers one such request. Event loop, but for the calls themselves."""

    def __init__(
        self, service: RpcService, context: Context, request: CallMany, work: Work, done: Callable[[bytes], None]
    ) -> None:
        """``done`` gets the frame of the answer, perhaps before `start` returns."""
        self._service = service
        self._context = context
        self._request = request
        self._work = work
        self._done = done
        self._at: BlockAt | None = None
        """The block, once a call has looked for it."""
        self._no_block: ZvmdError | None = None
        """Why there is none."""
        kinds = [(CallContract, call.to) for call in request.calls]
        parts = ReadParts(kinds, self._call, self._price, self._failed)
        self._run = ReadRun(service.brief, service.readers, work, parts, self._settled, is_admitted=False)

    def start(self) -> None:
        """Begin with the calls."""
        try:
            count, most = len(self._request.calls), self._context.limits.batch_size_max
            if count > most:
                raise RequestTooLarge(f"{count} calls in one frame; the limit is {most}")
            if not count:
                raise InvalidParams("no calls")
            if self._run.start():
                self._settled(None)
        except ZvmdError as error:
            self._refuse(error)
        except Exception as error:
            self._refuse(internal_error(type(self._request).__name__, error))

    def _call(self, number: int) -> bytes:
        """One call's outcome, encoded."""
        context, call = self._context, self._request.calls[number]
        try:
            checkpoint()
            at = self._at
            if at is None:
                at = self._at = self._find_block()
            result = call_checked(context, codec.call_of(call), at)
            return encode_outcome(CallDone(result.output, result.gas_used))
        except ZvmdError as error:
            return self._failed(number, error)
        except Exception as error:
            return self._failed(number, internal_error(type(self._request).__name__, error))

    def _find_block(self) -> BlockAt:
        if self._no_block is None:
            try:
                return self._context.need_block(codec.block_of(self._request.block))
            except ZvmdError as error:
                self._no_block = error
        raise self._no_block

    def _price(self, number: int) -> ReadPrice:
        call = self._request.calls[number]
        return price_of_gas(self._context.limits, (CallContract, call.to), call.gas)

    def _failed(self, _: int, error: ZvmdError) -> bytes:
        said = codec.failure_of(0, error)
        return encode_outcome(CallFailed(said.code, said.rpc_code, said.message, said.hint, said.data))

    def _settled(self, fault: BaseException | None) -> None:
        """Every call has its outcome, or ``fault`` ended the run."""
        answers, work = self._run.answers, self._work
        if fault is not None:
            is_named = isinstance(fault, ZvmdError)
            self._refuse(fault if is_named else InternalError(type(fault).__name__))  # type: ignore[arg-type]
        elif self._no_block is not None:
            self._refuse(self._no_block)
        elif work.answer_bytes_left < 0 and work.reason is not None:
            self._refuse(work.reason)
        elif sum(len(answer or b"") for answer in answers) <= ENCODED_BYTES:
            self._done(self._frame(answers))
        else:
            try:
                self._service.readers.submit(lambda: self._frame(answers), self._encoded, work)
            except ZvmdError as error:
                self._refuse(error)

    def _encoded(self, frame: bytes | BaseException) -> None:
        if isinstance(frame, bytes):
            self._done(frame)
        else:
            self._settled(frame)

    def _frame(self, answers: list[Answer]) -> bytes:
        at = self._at
        assert at is not None, "a call has looked for the block"
        number = at if isinstance(at, int) else at.number
        return encode_calls_done(self._request.id, number, [answer for answer in answers if answer is not None])

    def _refuse(self, error: ZvmdError) -> None:
        self._done(encode_frame(codec.failure_of(self._request.id, error)))
