"""The kill harness's clients on QUIC, with the public SDK."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import zvmd
import zvmd.connection
from tests.crash.load import Channel
from tests.daemon import Daemon

zvmd.connection.PING_SECONDS = 0.05
"""A ping is what tells a client that nobody is there any more: here a second of waiting would be most of a cycle."""


class QuicChannel:
    """A ``zvmd.SyncClient`` as a channel; a lost connection looks like one on HTTP."""

    def __init__(self, daemon: Daemon) -> None:
        with lost_is_lost():
            self._client = zvmd.SyncClient(
                f"quic://127.0.0.1:{daemon.quic_port}", data_dir=daemon.data_dir, timeout=30.0
            )

    def send(self, raw: str) -> str:
        """The hash, once the node has acknowledged the transaction."""
        with lost_is_lost():
            return "0x" + self._client.send_raw(bytes.fromhex(raw.removeprefix("0x"))).hash.hex()

    def receipt(self, hash_: str) -> dict[str, Any] | None:
        """The receipt, in JSON-RPC's form."""
        with lost_is_lost():
            answer: dict[str, Any] | None = self._client.rpc("eth_getTransactionReceipt", hash_)
            return answer

    def close(self) -> None:
        """Leave."""
        self._client.close()


def quic_to(daemon: Daemon) -> Callable[[], Channel]:
    """Connects to the daemon, whichever process it is by then."""
    return lambda: QuicChannel(daemon)


@contextmanager
def lost_is_lost() -> Iterator[None]:
    """The SDK's word for a lost connection as the standard library's."""
    try:
        yield
    except zvmd.ConnectionFailed as error:
        raise ConnectionError(str(error)) from error
