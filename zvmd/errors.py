"""Errors of the SDK.

ZvmdClientError                any failure the node or the connection reports
├── ConnectionFailed           no connection, or it was lost
├── Reverted                   a call or transaction reverted; ``data`` holds the revert data
└── NotFound                   something asked for does not exist (yet)
"""

from __future__ import annotations

from typing import Any

from zvmd.printable import printable


class ZvmdClientError(Exception):
    """A failure with the node's stable slug (``code``), its JSON-RPC number and a hint."""

    def __init__(
        self, message: str, *, code: str, hint: str = "", rpc_code: int = -32000, data: Any = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.hint = hint
        self.rpc_code = rpc_code
        self.data = data

    def __str__(self) -> str:
        return printable(f"{self.message} [{self.code}]" + (f" ({self.hint})" if self.hint else ""), lines=True)


class ConnectionFailed(ZvmdClientError):
    """No connection, or it ended: what was not answered may have happened all the same."""


class Reverted(ZvmdClientError):
    """The EVM reverted."""


class NotFound(ZvmdClientError):
    """No such thing, or not within the time given."""


def error_from(code: str, rpc_code: int, message: str, hint: str, data: Any) -> ZvmdClientError:
    """The typed error of a failure message."""
    kind = Reverted if code == "evm.revert" else ZvmdClientError
    if kind is Reverted and ": " in message:  # the reason: nothing is left to decode
        hint = ""
    return kind(message, code=code, hint=hint, rpc_code=rpc_code, data=data)


def typed_error(error: dict[str, Any]) -> ZvmdClientError:
    """The error of a JSON-RPC error object."""
    data = error.get("data")
    if error.get("code") == 3:
        try:
            raw = bytes.fromhex(data[2:]) if isinstance(data, str) else b""
        except ValueError:
            raw = b""
        hint = "decode data with the contract's ABI"
        return error_from("evm.revert", 3, str(error.get("message", "")), hint, raw)
    details = data if isinstance(data, dict) else {}
    code, hint = details.get("code", "rpc.error"), details.get("hint", "")
    return error_from(code, error.get("code", -32000), error.get("message", ""), hint, data)
