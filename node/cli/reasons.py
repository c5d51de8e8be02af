"""Why a call or transaction failed, as text, by the ABI given or else those that the node knows."""

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
"""Prefixes of reasons that no known ABI describes."""
PRECOMPILES_BELOW = 0x10000
"""Addresses up to this one may be precompiled contracts, which run without code."""


@contextmanager
def explained(link: Link, abis: Abis, to: str | None) -> Iterator[None]:
    """Within this context a revert is explained: raises `Reverted` with the reason as text and the data."""
    try:
        yield
    except Reverted as error:
        data = _bytes(error.data)
        reason = reason_of(link, abis, to, data)
        hint = "give --abi FILE to name it" if reason.startswith(UNDECODED) else ""
        message = f"execution reverted: {reason}\ndata 0x{data.hex()}"
        raise Reverted(message, hint=hint, rpc_code=error.rpc_code, data=error.data) from None


def reason_of(link: Link, abis: Abis, to: str | None, data: bytes) -> str:
    """Revert data as text."""
    reason = abis.revert(data)
    if not reason.startswith(UNDECODED):
        return reason
    try:
        return str(link.rpc("zvmd_explainRevert", hex_of(data), to))
    except ZvmdError:  # not zvmd, or the token is missing: use only what is known here
        return reason


def failure_of(link: Link, abis: Abis, receipt: dict[str, Any]) -> tuple[str, bytes]:
    """Why a mined transaction failed, and its revert data. The node executes it again to find out."""
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
    """Warn if the called address has no code, so that nothing was executed."""
    address = hex_of(address_bytes(to))
    if int(address, 16) >= PRECOMPILES_BELOW and link.rpc("eth_getCode", address, block or "latest") == "0x":
        say(f"warning: {address} has no code: nothing was executed", err=True)


def _bytes(value: object) -> bytes:
    """Data as the transports give it: bytes, or hex."""
    return value if isinstance(value, bytes) else bytes.fromhex(str(value or "").removeprefix("0x"))
