"""Which requests of zvmd/1 a peer may make, by its token.

With a session's share token in its Hello it has that session only; else what the scopes of its token permit.
"""

from __future__ import annotations

from typing import Final

from node.rpc.caller import Caller
from node.rpc.errors import RateExceeded
from node.rpc.registry import Scope, find_method
from node.sessions.commands import BY_METHOD, ArgumentKind, Command
from node.sessions.rights import Right
from node.wire.errors import GuestRefused
from zvmd.frames import (
    CallContract,
    CallMany,
    CallMethod,
    DeployContract,
    GetLogs,
    GetReceipt,
    Request,
    SendTransaction,
    Subscribe,
    Unsubscribe,
)

SCOPES: Final[dict[type[Request], Scope]] = {
    CallContract: Scope.READ,
    CallMany: Scope.READ,
    GetLogs: Scope.READ,
    GetReceipt: Scope.READ,
    SendTransaction: Scope.SEND,
    DeployContract: Scope.SEND,
}
"""By kind of request. Subscribing to a session needs `Scope.DEBUG`, every other subscription `Scope.READ`."""


def admit(request: Request, caller: Caller) -> None:
    """Count the request, or each of its calls, against the caller's rate.

    Raises `RateExceeded`, and what `check_rights` raises.
    """
    check_rights(request, caller)
    count = max(1, len(request.calls)) if isinstance(request, CallMany) else 1
    if caller.rate is not None and (wait_s := caller.rate.take(count)):
        raise RateExceeded(f"this token may make {caller.rate.per_second} requests a second", wait_s)


def check_rights(request: Request, caller: Caller) -> None:
    """Raises `GuestRefused`, `MissingScope`, or `MethodNotFound` instead of that."""
    rights = caller.rights
    if rights.everything or isinstance(request, Unsubscribe):
        return
    if caller.share is not None:
        check_share_token(request, caller.share)
    elif isinstance(request, CallMethod):
        if not rights.allow(request.method):
            find_method(request.method)
        rights.check(request.method)
    elif isinstance(request, Subscribe):
        rights.need(Scope.DEBUG if request.kind == "session" else Scope.READ, "this subscription")
    else:
        rights.need(SCOPES[type(request)], type(request).__name__)


def check_share_token(request: Request, token: str) -> None:
    """Raises `GuestRefused` unless the request is about the token's session and names it by the token.

    What the token's role allows is checked with the call (`node.rpc.dispatch`).
    """
    if isinstance(request, Unsubscribe):
        return
    if isinstance(request, Subscribe) and request.kind == "session" and request.session == token:
        return
    if isinstance(request, CallMethod) and isinstance(request.params, list):
        command = BY_METHOD.get(request.method)
        if command is not None and command.right is not Right.OWN and _names_only(command, request.params, token):
            return
    raise GuestRefused("a share token opens one session only, named by the token itself")


def _names_only(command: Command, params: list[object], token: str) -> bool:
    """Whether every argument that names a session is the token, and the first of them is given."""
    named = [
        value
        for argument, value in zip(command.arguments, params, strict=False)
        if argument.kind is ArgumentKind.SESSION and (value is not None or argument.is_required)
    ]
    return bool(named) and all(value == token for value in named)
