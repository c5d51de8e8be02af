"""`SyncClient`: the same client for programs without an event loop; the loop runs in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Generator
from types import TracebackType
from typing import Any, TypeVar

from zvmd.client import Client, Connecting, Deployed, connect
from zvmd.connection import Event
from zvmd.frames import LogBody, ReceiptBody, Sent, TransactionBody

T = TypeVar("T")


class SyncClient:
    """Blocking methods of `zvmd.Client`; safe to use from several threads.

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

    def rpc(self, method: str, *params: Any) -> Any:
        """See `Client.rpc`."""
        return self._wait(self._client.rpc(method, *params))

    def fate(self, transaction_hash: bytes | str) -> dict[str, Any]:
        """See `Client.fate`."""
        return self._wait(self._client.fate(transaction_hash))

    def call_raw(self, *args: Any, **options: Any) -> bytes:
        """See `Client.call_raw`."""
        return self._wait(self._client.call_raw(*args, **options))

    def call(self, *args: Any, **options: Any) -> tuple[Any, ...]:
        """See `Client.call`."""
        return self._wait(self._client.call(*args, **options))

    def send_raw(self, raw: bytes, *, mined: bool = False) -> Sent:
        """See `Client.send_raw`."""
        return self._wait(self._client.send_raw(raw, mined=mined))

    def send(self, *args: Any, **options: Any) -> Sent:
        """See `Client.send`."""
        return self._wait(self._client.send(*args, **options))

    def deploy(self, code: bytes, **options: Any) -> Deployed:
        """See `Client.deploy`."""
        return self._wait(self._client.deploy(code, **options))

    def receipt(self, transaction_hash: bytes, *, wait: float = 0.0) -> ReceiptBody | None:
        """See `Client.receipt`."""
        return self._wait(self._client.receipt(transaction_hash, wait=wait))

    def console_log(self, transaction_hash: bytes) -> list[str]:
        """See `Client.console_log`."""
        return self._wait(self._client.console_log(transaction_hash))

    def logs(self, **options: Any) -> list[LogBody]:
        """See `Client.logs`."""
        return self._wait(self._client.logs(**options))

    def events(self, kind: str = "logs", **options: Any) -> Generator[Event, None, None]:
        """See `Client.events`."""
        yield from self._each(self._client.events(kind, **options))

    def pending_transactions(self) -> Generator[TransactionBody, None, None]:
        """See `Client.pending_transactions`."""
        return self._each(self._wait(self._client.pending_transactions()))

    def watch(self, session: int | str, cursor: int | None = None) -> Generator[dict[str, Any], None, None]:
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
