"""Which calls the audit log tells of, and what it tells: who called what, and how it ended."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Sequence
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from chain.errors import ZvmdError
from node.ops.audit import AuditLog, without_secrets
from node.rpc.caller import Caller
from node.rpc.context import Context
from node.rpc.registry import Method, Scope

T = TypeVar("T")

ITEMS_MAX: Final = 16
"""Items shown of a list or object; the rest is left out."""
DEPTH_MAX: Final = 4
TEXT_MAX: Final = 128
SECRET_PREFIXES: Final = ("personal_",)
"""Methods whose parameters are passwords and keys."""


def audit_of(context: Context, method: Method) -> AuditLog | None:
    """The audit log, if it tells of calls of this method."""
    is_told = method.scope is Scope.ADMIN or (method.scope is Scope.DEVELOP and context.audits_development)
    return context.audit if is_told else None


async def recorded(work: Awaitable[T], audit: AuditLog, caller: Caller, method: str, arguments: Sequence[Any]) -> T:
    """Do it, and return when the record of it is durable. A call that is cancelled is recorded, too."""
    outcome = "cancelled"
    try:
        result = await work
        outcome = "done"
        return result
    except ZvmdError as error:
        outcome = error.code
        raise
    finally:
        record = note_call(audit, caller, method, arguments, outcome)
        if outcome != "cancelled":
            await asyncio.wrap_future(record)


def note_call(audit: AuditLog, caller: Caller, method: str, arguments: Sequence[Any], outcome: str) -> Future[None]:
    """Record a call; ``outcome`` is ``done``, ``read``, ``cancelled`` or an error's slug."""
    is_secret = method.startswith(SECRET_PREFIXES)
    return audit.note(
        "call",
        method=method,
        params="..." if is_secret else without_secrets(json.dumps(_short(list(arguments), 0))),
        outcome=outcome,
        caller=caller.name,
        token=caller.token_id,
        way=caller.way,
        address=caller.address,
    )


def _short(value: Any, depth: int) -> Any:
    """The beginning of a parameter, in JSON's types."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**53 else hex(value)
    if isinstance(value, bytes):
        return "0x" + value[:TEXT_MAX].hex()
    if isinstance(value, list | tuple):
        return [_short(item, depth + 1) for item in value[:ITEMS_MAX]] if depth < DEPTH_MAX else "..."
    if isinstance(value, dict):
        if depth >= DEPTH_MAX:
            return "..."
        return {str(key)[:TEXT_MAX]: _short(value[key], depth + 1) for key in list(value)[:ITEMS_MAX]}
    return value[:TEXT_MAX] if isinstance(value, str) else type(value).__name__
