"""Futures whose answer comes as a value, which may be an exception."""

from __future__ import annotations

import asyncio
from typing import Any


def settle(future: asyncio.Future[Any], answer: Any) -> None:
    """Give a future its result, or the exception that the answer is. Does nothing if nobody waits for it any more.

    To be called on the future's event loop.
    """
    if future.done():
        return
    if isinstance(answer, BaseException):
        future.set_exception(answer)
    else:
        future.set_result(answer)
