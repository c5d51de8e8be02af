"""How client commands connect to the node: its unix socket or QUIC, ``--http`` for JSON-RPC; their common options."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import click

from node.cli.output import say
from zvmd.abi import address_bytes
from zvmd.client import hex_of
from zvmd.endpoint import (
    CERTIFICATE_VARIABLE,
    CLIENT_VARIABLE,
    DEFAULT_HTTP,
    TOKEN_FILE,
    TOKEN_VARIABLE,
    data_directory,
)
from zvmd.errors import NoAccount, NotFound, ZvmdError
from zvmd.http import HttpClient, find_http
from zvmd.results import SessionChange
from zvmd.signing import complete_and_sign
from zvmd.sync import SyncClient

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

MINED_WITHIN_S = 60.0
POLL_S = 0.05


class Link(Protocol):
    """The operations of a node that commands use."""

    def rpc(self, method: str, *params: Any) -> Any:
        """Result of a JSON-RPC method."""

    def call_raw(self, to: str, data: bytes, *, sender: str | None, value: int, block: str | None) -> bytes:
        """Output of a call."""

    def send_raw(self, raw: bytes) -> str:
        """Send an encoded transaction; returns its hash."""

    def watch(self, session: int | str, cursor: int | None = None) -> Generator[SessionChange, None, None]:
        """Events of a debug session, without an end."""

    def close(self) -> None:
        """End the connection."""


class QuicLink:
    """Over QUIC."""

    def __init__(self, client: SyncClient) -> None:
        self.client = client

    def rpc(self, method: str, *params: Any) -> Any:
        """See `Link`."""
        return self.client.rpc(method, *params)

    def call_raw(self, to: str, data: bytes, *, sender: str | None, value: int, block: str | None) -> bytes:
        """See `Link`."""
        return self.client.call_raw(to, data, sender=sender, value=value, block=block)

    def send_raw(self, raw: bytes) -> str:
        """See `Link`."""
        return hex_of(self.client.send_raw(raw).hash)

    def watch(self, session: int | str, cursor: int | None = None) -> Generator[SessionChange, None, None]:
        """See `Link`."""
        return self.client.watch(session, cursor)

    def close(self) -> None:
        """See `Link`."""
        self.client.close()


class HttpLink:
    """Over HTTP."""

    def __init__(self, client: HttpClient) -> None:
        self._client = client

    def rpc(self, method: str, *params: Any) -> Any:
        """See `Link`."""
        return self._client.rpc(method, *params)

    def call_raw(self, to: str, data: bytes, *, sender: str | None, value: int, block: str | None) -> bytes:
        """See `Link`."""
        call = {"to": hex_of(address_bytes(to)), "input": hex_of(data), "value": hex(value)}
        call |= {"from": hex_of(address_bytes(sender))} if sender else {}
        return bytes.fromhex(self._client.rpc("eth_call", call, block or "latest")[2:])

    def send_raw(self, raw: bytes) -> str:
        """See `Link`."""
        return str(self._client.rpc("eth_sendRawTransaction", hex_of(raw)))

    def watch(self, session: int | str, cursor: int | None = None) -> Generator[SessionChange, None, None]:
        """See `Link`."""
        return self._client.watch(session, cursor)

    def close(self) -> None:
        """Nothing to close."""


def _variable(name: str, variable: str, text: str) -> Callable[[CommandT], CommandT]:
    """An option that is another way to set the variable which the SDK reads."""

    def keep(_: click.Context, __: click.Parameter, value: str | None) -> None:
        if value is not None:
            os.environ[variable] = value

    return click.option(
        name, metavar="FILE", expose_value=False, callback=keep, help=f"{text}  [{variable}]", is_eager=True
    )


def link_options(command: CommandT) -> CommandT:
    """The options of every command that talks to a node."""
    options = (
        click.option("--http", is_flag=True, help="Use JSON-RPC over HTTP."),
        click.option(
            "--url",
            envvar="ZVMD_URL",
            help="unix:///PATH/zvmd.sock, quic://HOST:PORT, or http(s)://HOST:PORT (implies --http).",
        ),
        click.option(
            "--data-dir", envvar="ZVMD_DATA_DIR", help="The node's data directory: token and certificate."
        ),
        _variable("--authority", CERTIFICATE_VARIABLE, "PEM file of the authority to trust."),
        _variable("--client-certificate", CLIENT_VARIABLE, "PEM file with a certificate and its key to show."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def account_options(command: CommandT) -> CommandT:
    """The options of every command that sends a transaction."""
    options = (
        click.option(
            "--from", "sender", metavar="ADDRESS", help="A dev account of the node (default: its first)."
        ),
        click.option("--private-key", envvar="ZVMD_PRIVATE_KEY", help="Sign here with this key instead."),
        click.option("--value", default="0", help="Amount to send: wei, or like 1.5ether."),
        click.option("--gas", type=int, help="Gas limit (default: estimated)."),
        click.option("--json", "as_json", is_flag=True, help="Print the receipt as JSON."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def is_http(http: bool, url: str | None) -> bool:
    """Whether the shared options mean HTTP."""
    return http or (url is not None and url.startswith("http"))


def http_client(http: bool, url: str | None, data_dir: str | None) -> HttpClient | None:
    """The HTTP client that the shared options mean; None for QUIC. Raises `ZvmdError`.

    A share token in ``$ZVMD_TOKEN`` is not sent: over HTTP that is a parameter.
    """
    if not is_http(http, url):
        return None
    given = os.environ.get(TOKEN_VARIABLE, "")
    hidden = {TOKEN_VARIABLE: ""} if given.startswith("zvs-") else {}
    address = url if url is not None and url.startswith("http") else None
    return find_http(address, data_dir=data_dir, environ=dict(os.environ) | hidden)


def node_elsewhere(environ: Mapping[str, str]) -> str | None:
    """The HTTP address to use if none was given and no node has run in the default data directory.

    A node with another data directory may listen at the default address, which needs no token on this machine. None if
    there is no such node, or if QUIC can be tried.
    """
    directory = data_directory(None, environ)
    if TOKEN_VARIABLE in environ or (directory / TOKEN_FILE).exists():
        return None
    try:
        chain = HttpClient(DEFAULT_HTTP).rpc("eth_chainId")
    except ZvmdError:  # no node listens: the error will name the data directory
        return None
    say(f"note: no node has run in {directory}; asking {DEFAULT_HTTP} (chain {int(chain, 16)})", err=True)
    return DEFAULT_HTTP


def connect(http: bool, url: str | None, data_dir: str | None) -> Link:
    """A link by the shared options, to be closed. Raises `ZvmdError`."""
    client = http_client(http, url, data_dir)
    if client is None and url is None and data_dir is None and (elsewhere := node_elsewhere(os.environ)):
        client = http_client(True, elsewhere, None)
    return HttpLink(client) if client else QuicLink(SyncClient(url, data_dir=data_dir))


@contextmanager
def open_link(http: bool, url: str | None, data_dir: str | None) -> Iterator[Link]:
    """A link by the shared options. Raises `ZvmdError`."""
    link = connect(http, url, data_dir)
    try:
        yield link
    finally:
        link.close()


def send_transaction(
    link: Link,
    to: str | None,
    data: bytes,
    *,
    sender: str | None,
    private_key: str | None,
    value: int,
    gas: int | None,
) -> dict[str, Any]:
    """Send and wait: the receipt in JSON-RPC's form. Raises `ZvmdError`."""
    target = None if to is None else address_bytes(to)
    if private_key is not None:
        digest = link.send_raw(
            asyncio.run(complete_and_sign(_Awaitable(link), private_key, target, data, value, gas))
        )
    else:
        account = _first_account(link) if sender is None else hex_of(address_bytes(sender))
        fields = {"from": account, "data": hex_of(data), "value": hex(value)}
        fields |= {"to": hex_of(target)} if target is not None else {}
        fields |= {"gas": hex(gas)} if gas is not None else {}
        digest = link.rpc("eth_sendTransaction", fields)
    deadline = time.monotonic() + MINED_WITHIN_S
    while time.monotonic() < deadline:
        receipt: dict[str, Any] | None = link.rpc("eth_getTransactionReceipt", digest)
        if receipt is not None:
            return receipt
        time.sleep(POLL_S)
    hint = "it is durable; call eth_getTransactionReceipt later"
    raise NotFound(f"{digest} was not mined within {MINED_WITHIN_S:g} s", hint=hint)


def _first_account(link: Link) -> str:
    accounts = link.rpc("eth_accounts")
    if not accounts:
        hint = "give --private-key, or start the node with --dev"
        raise NoAccount("the node holds no keys", hint=hint)
    return str(accounts[0])


class _Awaitable:
    """A blocking link where an awaitable one is expected."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def rpc(self, method: str, *params: Any) -> Any:
        # In a thread: the QUIC client has a loop of its own and must not block this one.
        return await asyncio.to_thread(self._link.rpc, method, *params)
