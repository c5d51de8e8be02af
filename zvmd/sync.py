"""`SyncClient`: `zvmd.Client` for programs without an event loop.

The event loop runs in a thread of its own. A method here is the coroutine of the same name there, run on that loop
while the caller waits, so arguments, results and errors are those of `zvmd.Client`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from functools import update_wrapper
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar

from zvmd.client import Client, Connecting, connect
from zvmd.exchange import Event
from zvmd.frames import TransactionBody
from zvmd.results import SessionChange

P = ParamSpec("P")
T = TypeVar("T")


def _blocking(
    method: Callable[Concatenate[Client, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[SyncClient, P], T]:
    def run(client: SyncClient, /, *args: P.args, **options: P.kwargs) -> T:
        return client._wait(method(client._client, *args, **options))

    update_wrapper(run, method)
    return run


class SyncClient:
    """The methods of `zvmd.Client`, which wait for the answer; safe to use from several threads.

    >>> with SyncClient() as node:  # doctest: +SKIP
    ...     node.rpc("eth_blockNumber")
    '0x0'
    """

    def __init__(self, url: str | None = None, **options: Any) -> None:
        connecting = connect(url, **options)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="zvmd-client", daemon=True)
        self._thread.start()
        try:
            self._client: Client = self._wait(_opened(connecting))
        except BaseException:
            self._stop_loop()
            raise

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _stop_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> SyncClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection and its thread."""
        if not self._loop.is_closed():
            self._wait(self._client.close())
            self._stop_loop()

    @property
    def chain_id(self) -> int:
        """Chain id of the node."""
        return self._client.chain_id

    @property
    def server(self) -> str:
        """Name and version of the node."""
        return self._client.server

    rpc = _blocking(Client.rpc)
    status = _blocking(Client.status)
    block = _blocking(Client.block)
    fate = _blocking(Client.fate)
    call_raw = _blocking(Client.call_raw)
    call = _blocking(Client.call)
    call_many = _blocking(Client.call_many)
    call_many_raw = _blocking(Client.call_many_raw)
    send_raw = _blocking(Client.send_raw)
    send = _blocking(Client.send)
    deploy = _blocking(Client.deploy)
    receipt = _blocking(Client.receipt)
    need_receipt = _blocking(Client.need_receipt)
    console_log = _blocking(Client.console_log)
    logs = _blocking(Client.logs)

    def events(self, kind: str = "logs", **options: Any) -> Generator[Event, None, None]:
        """See `Client.events`."""
        yield from self._each(self._client.events(kind, **options))

    def pending_transactions(self) -> Generator[TransactionBody, None, None]:
        """See `Client.pending_transactions`."""
        return self._each(self._wait(self._client.pending_transactions()))

    def watch(self, session: int | str, cursor: int | None = None) -> Generator[SessionChange, None, None]:
        """See `Client.watch`."""
        return self._each(self._wait(self._client.watch(session, cursor)))

    def _each(self, stream: AsyncIterator[T]) -> Generator[T, None, None]:
        try:
            while True:
                yield self._wait(_next(stream))
        finally:
            if not self._loop.is_closed():
                self._wait(stream.aclose())  # type: ignore[attr-defined]


async def _opened(connecting: Connecting) -> Client:
    return await connecting


async def _next(stream: AsyncIterator[T]) -> T:
    return await anext(stream)


Node = SyncClient
"""The short name: ``with zvmd.Node() as node``."""
