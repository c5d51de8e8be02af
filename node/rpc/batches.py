"""The answers of one JSON-RPC batch: reads one after the other, submissions at the same time, all else in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Iterator
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

from chain.errors import ZvmdError
from node.ops.futures import settle
from node.ops.slices import LoopSlice
from node.rpc.brief import BriefReads
from node.rpc.cost import ReadPrice
from node.rpc.read_run import Answer, ReadParts, ReadRun
from node.rpc.readers import Readers
from node.rpc.work import Work

READ, SUBMIT, ALONE = "read", "submit", "alone"
"""How a request may overlap with its neighbours: with other reads, with other submissions, with none."""


class BatchParts(NamedTuple):
    """The requests of a batch, each known by its number."""

    overlaps: list[str]
    """For each request, one of the three."""
    kinds: list[Hashable | None]
    """For each read, what `BriefReads.attempt` takes; None to keep it from the event loop."""
    answer: Callable[[int], Answer]
    """Makes the answer of a read, on any thread."""
    price: Callable[[int], ReadPrice]
    """What a request may cost."""
    refused: Callable[[int, ZvmdError], Answer]
    """The answer of a read that is not run."""
    begin: Callable[[int], Coroutine[Any, Any, Answer]]
    """Makes the answer of a request that is not a read."""

    def groups(self) -> Iterator[tuple[str, int, int]]:
        """Neighbours that overlap: how, the first of them, and the one behind the last."""
        end = 0
        for overlap, members in groupby(self.overlaps):
            begin, end = end, end + sum(1 for _ in members)
            if overlap == ALONE:
                yield from ((overlap, number, number + 1) for number in range(begin, end))
            else:
                yield overlap, begin, end


class ReadyRun(NamedTuple):
    """Reads that were begun: all done, if ``settled`` is None."""

    run: ReadRun
    settled: asyncio.Future[None] | None


def begin_reads(
    batch: BatchParts, begin: int, end: int, brief: BriefReads, readers: Readers, work: Work, *, is_admitted: bool
) -> ReadyRun:
    """Begin with the reads of a group, which is a part of the ``work``, or with ``is_admitted`` False all of it.

    Then the client counts as waiting for it from here until it is done. Raises `NodeBusy` if the client has too much
    under way already, and what a read raises that no answer is made of.
    """
    settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def done(fault: BaseException | None) -> None:
        if not is_admitted:
            work.client.end(work)
        settle(settled, fault)

    run = ReadRun(
        brief,
        readers,
        work,
        ReadParts(
            batch.kinds[begin:end],
            lambda number: batch.answer(begin + number),
            lambda number: batch.price(begin + number),
            lambda number, error: batch.refused(begin + number, error),
        ),
        done,
        is_admitted=is_admitted,
    )
    if is_admitted:
        return ReadyRun(run, None if run.start() else settled)
    work.client.begin(work)
    try:
        is_over = run.start()
    except BaseException:
        work.client.end(work)
        raise
    if is_over:
        work.client.end(work)
    return ReadyRun(run, None if is_over else settled)


async def answer_batch(batch: BatchParts, brief: BriefReads, readers: Readers, work: Work) -> list[bytes]:
    """The answers, without those of notifications; some only if ``work`` was stopped because they are too large.

    Raises what ends a request without an answer.
    """
    answers: list[Answer] = []
    for overlap, begin, end in batch.groups():
        if work.answer_bytes_left < 0:
            break
        if overlap == READ:
            ready = begin_reads(batch, begin, end, brief, readers, work, is_admitted=True)
            if ready.settled is not None:
                await ready.settled
            answers += ready.run.answers
        else:
            answers += await _together(batch, begin, end, work)
    return [answer for answer in answers if answer is not None]


async def _together(batch: BatchParts, begin: int, end: int, work: Work) -> list[Answer]:
    """The answers of requests that wait at the same time."""
    tasks, turn = [], LoopSlice()
    try:
        for number in range(begin, end):
            task = asyncio.get_running_loop().create_task(batch.begin(number))
            task.add_done_callback(partial(_spend, work))
            tasks.append(task)
            await turn.rest()
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


def _spend(work: Work, task: asyncio.Task[Answer]) -> None:
    """Count an answer as it arrives: above the limit what still runs is stopped."""
    if not task.cancelled() and task.exception() is None:
        work.spend_answer(len(task.result() or b""))
