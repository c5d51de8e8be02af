"""Why a call or transaction failed, in words: by the ABI given, else by those that the node knows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from node.cli.link import Link
from node.cli.output import say
from node.transcript.abis import Abis
from zvmd.abi import address_bytes
from zvmd.client import hex_of
from zvmd.errors import Reverted, ZvmdError

UNDECODED = ("custom error 0x", "0x")
"""How reasons begin that no known ABI has."""
PRECOMPILES_BELOW = 0x10000
"""Addresses that may do something without code."""


@contextmanager
def explained(link: Link, abis: Abis, to: str | None) -> Iterator[None]:
    """Reverts of what is called inside tell why. Raises `Reverted` with the reason in words and the data."""
    try:
        yield
    except Reverted as error:
        data = _bytes(error.data)
        reason = reason_of(link, abis, to, data)
        hint = "give --abi FILE to name it" if reason.startswith(UNDECODED) else ""
        message = f"execution reverted: {reason}\ndata 0x{data.hex()}"
        raise Reverted(message, hint=hint, rpc_code=error.rpc_code, data=error.data) from None


def reason_of(link: Link, abis: Abis, to: str | None, data: bytes) -> str:
    """Revert data in words."""
    reason = abis.revert(data)
    if not reason.startswith(UNDECODED):
        return reason
    try:
        return str(link.rpc("zvmd_explainRevert", hex_of(data), to))
    except ZvmdError:  # another node, or one that tells only those with its token: what is known here has to do
        return reason


def failure_of(link: Link, abis: Abis, receipt: dict[str, Any]) -> tuple[str, bytes]:
    """Why a mined transaction failed, and its revert data. The node runs it again to find out."""
    try:
        trace = link.rpc("debug_traceTransaction", receipt["transactionHash"], {"tracer": "callTracer"})
    except ZvmdError as error:
        return f"not known: {error.message}", b""
    data = _bytes(trace.get("output"))
    halt = str(trace.get("error", ""))
    if halt != "execution reverted":
        return halt, data
    return reason_of(link, abis, receipt["to"], data), data


def warn_without_code(link: Link, to: str, block: str | None = None) -> None:
    """Tell if there is no code at an address that was called: then nothing ran."""
    address = hex_of(address_bytes(to))
    if int(address, 16) >= PRECOMPILES_BELOW and link.rpc("eth_getCode", address, block or "latest") == "0x":
        say(f"warning: {address} has no code: nothing was run", err=True)


def _bytes(value: object) -> bytes:
    """Data as the transports give it: bytes, or hex."""
    return value if isinstance(value, bytes) else bytes.fromhex(str(value or "").removeprefix("0x"))
