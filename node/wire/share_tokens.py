"""Requests allowed to a peer whose Hello has a session's share token instead of the node's token."""

from __future__ import annotations

from chain.errors import ZvmdError
from node.rpc.service import RpcService
from node.sessions.commands import BY_METHOD, ArgumentKind, Command
from node.sessions.rights import Right
from node.wire.errors import GuestRefused
from zvmd.frames import CallMethod, Request, Subscribe, Unsubscribe


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


def is_share_token(service: RpcService, token: bytes) -> bool:
    """Whether it is a valid share token of a session."""
    sessions = service.context.sessions
    try:
        return sessions is not None and sessions.sharings.enter(token.decode("ascii")).share > 0
    except (ZvmdError, UnicodeDecodeError):
        return False


def _names_only(command: Command, params: list[object], token: str) -> bool:
    """Whether every argument that names a session is the token, and the first of them is given."""
    named = [
        value
        for argument, value in zip(command.arguments, params, strict=False)
        if argument.kind is ArgumentKind.SESSION and (value is not None or argument.is_required)
    ]
    return bool(named) and all(value == token for value in named)
