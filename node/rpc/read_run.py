"""The reads of one batch, one after the other: in slices on the event loop, then in chunks on the reader threads.

A read of its own on a thread costs more than most reads do: what is short is run where it is, and what has to leave the
loop takes all that follow it along. After a read that took long, those that follow are handed over one by one for a
while, so that several threads share them and other clients have their turn in between.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from chain.errors import ZvmdError
from node.rpc.brief import BriefReads
from node.rpc.cost import PART, Order, ReadPrice
from node.rpc.readers import Readers
from node.rpc.work import Work
from vm.interruption import current

Answer = bytes | None
"""None for a notification."""

CHUNK_S: Final = 0.004
"""A reader thread brings back what it has done after so long, and the rest lines up again."""
CHUNK_BYTES: Final = 64 * 1024
"""The same for the bytes of answers: they count against the limit once they are back."""
LONG_S: Final = 0.02
"""After a read that took so long, the next `APART` are jobs of their own."""
APART: Final = 16
TURNS_MAX: Final = 8
"""Turns of the loop in which nothing could be run for want of time, before the readers get the rest."""


class ReadParts(NamedTuple):
    """The reads of a run, each known by its number."""

    kinds: Sequence[Hashable | None]
    """What `BriefReads.attempt` takes; None to keep a read from the loop."""
    answer: Callable[[int], Answer]
    """Makes an answer, its errors included, on any thread."""
    price: Callable[[int], ReadPrice]
    """What a read may cost."""
    refused: Callable[[int, ZvmdError], Answer]
    """The answer of a read that is not run."""


class ReadRun:
    """Runs reads by their numbers and collects the answers. Made and used on the event loop."""

    def __init__(
        self,
        brief: BriefReads,
        readers: Readers,
        work: Work,
        parts: ReadParts,
        done: Callable[[BaseException | None], None],
        *,
        is_admitted: bool = True,
    ) -> None:
        """``done`` is called with the exception that ended the run, if one did, unless `start` said that all is done.

        ``is_admitted``: the readers know what ``work`` should cost. Else they are asked when a thread is needed first,
        or at once if the client waits for something else.
        """
        kinds, self._answer, self._price, self._refused = parts
        self.answers: list[Answer] = [None] * len(kinds)
        self._brief = brief
        self._readers = readers
        self._work = work
        self._kinds = kinds
        self._is_admitted = is_admitted
        self._done = done
        self._next = 0
        self._idle_turns = 0
        self._apart = 0
        """Reads that are under way as jobs of their own."""

    def start(self) -> bool:
        """Begin; whether all is done already.

        Raises `NodeBusy` if the client has too much under way, and what a read raises that no answer is made of.
        """
        if not self._is_admitted and self._work.share.expected_s:
            self._admit()
        return self._run_here()

    def _admit(self) -> None:
        prices = list(map(self._price, range(len(self._kinds))))
        self._work.take(Order(self._readers.admit(self._work.share, prices), PART))
        self._is_admitted = True

    def _run_here(self) -> bool:
        """Go on in this turn of the loop; whether all is done."""
        first = self._next
        goes_on = False
        if self._work.reason is None:
            self._next, goes_on = self._brief.attempt_some(self._make, self._kinds, first)
            self._count(first)
        if self._is_over:
            return True
        self._idle_turns = 0 if self._next > first else self._idle_turns + 1
        if goes_on and self._idle_turns < TURNS_MAX:
            asyncio.get_running_loop().call_soon(self._next_turn)
        else:
            self._hand_over()
        return False

    def _next_turn(self) -> None:
        fault: Exception | None = None
        try:
            is_over = self._run_here()
        except Exception as error:  # of a bug: the request ends with it
            fault = error
        if fault is not None or is_over:
            self._done(fault)

    @property
    def _is_over(self) -> bool:
        """Whether every read is answered, or they are too large together."""
        return self._next == len(self._kinds) or self._work.answer_bytes_left < 0

    def _make(self, number: int) -> None:
        self.answers[number] = self._answer(number)

    def _count(self, first: int) -> None:
        """Count the answers from ``first`` on against the limit of all."""
        self._work.spend_answer(sum(len(answer) for answer in self.answers[first : self._next] if answer))

    # -- on the readers ------------------------------------------------------------------------------

    def _hand_over(self) -> None:
        """Have a reader go on."""
        try:
            if not self._is_admitted:
                self._admit()
            self._readers.submit(self._chunk, partial(self._brought_back, self._next), self._work, PART)
        except ZvmdError as error:
            for number in range(self._next, len(self._kinds)):
                self.answers[number] = self._refused(number, error)
            first, self._next = self._next, len(self._kinds)
            self._count(first)
            asyncio.get_running_loop().call_soon(self._done, None)

    def _chunk(self) -> float:
        """Make answers for a while; how long the longest took, seconds. A job that is put back goes on where it was."""
        interruption = current()
        size, longest, begun = 0, 0.0, time.monotonic()
        before, spendable = begun, interruption.answer_bytes_left if interruption else 0
        while self._next < len(self._kinds):
            answer = self.answers[self._next] = self._answer(self._next)
            self._next += 1
            size += len(answer or b"")
            now = time.monotonic()
            longest, before = max(longest, now - before), now
            has_spent = interruption is not None and interruption.answer_bytes_left != spendable
            if now - begun > CHUNK_S or size > CHUNK_BYTES or has_spent:
                break
        return longest

    def _brought_back(self, first: int, longest: Any) -> None:
        """A chunk is done; ``longest`` may be the exception that ended it."""
        if isinstance(longest, BaseException):
            self._done(longest)
            return
        self._count(first)
        if self._is_over:
            self._done(None)
        elif longest > LONG_S:
            self._spread()
        else:
            self._hand_over()

    def _spread(self) -> None:
        """Hand over the next reads one by one."""
        first, self._next = self._next, min(self._next + APART, len(self._kinds))
        self._apart = self._next - first
        for number in range(first, self._next):
            put = partial(self._put, number)
            try:
                self._readers.submit(partial(self._answer, number), put, self._work, self._price(number))
            except ZvmdError as error:
                asyncio.get_running_loop().call_soon(put, self._refused(number, error))

    def _put(self, number: int, answer: Any) -> None:
        self._apart -= 1
        if isinstance(answer, BaseException):
            if self._apart >= 0:
                self._apart = -1  # nothing follows
                self._done(answer)
            return
        if self._apart < 0:
            return
        self.answers[number] = answer
        self._work.spend_answer(len(answer or b""))
        if self._apart:
            return
        if self._is_over:
            self._done(None)
        else:
            self._hand_over()
