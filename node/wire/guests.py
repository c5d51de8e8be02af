"""Requests allowed to a *guest*: a peer whose Hello has a session's share token instead of the node's token."""

from __future__ import annotations

from node.rpc.registry import Method, known_method
from node.sessions.shares import Right
from node.wire.errors import GuestRefused
from zvmd.frames import CallMethod, Request, Subscribe, Unsubscribe


def check_guest(request: Request, token: str) -> None:
    """Raises `GuestRefused` unless the request is about the token's session and names it by the token."""
    if isinstance(request, Unsubscribe):
        return
    if isinstance(request, Subscribe) and request.kind == "session" and request.session == token:
        return
    if isinstance(request, CallMethod) and isinstance(request.params, list):
        method = known_method(request.method)
        if method is not None and is_for_guests(method) and _names_only(method, request.params, token):
            return
    raise GuestRefused("a share token opens one session only, named by the token itself")


def is_for_guests(method: Method) -> bool:
    """Whether the method is about a session and open to others than its owner.

    What the token's role allows is checked with the call (`node.rpc.dispatch`).
    """
    rights = {parameter.right for parameter in method.parameters} - {None}
    return bool(rights) and Right.OWN not in rights


def _names_only(method: Method, params: list[object], token: str) -> bool:
    """Whether every parameter that names a session is the token, and the first of them is given."""
    named = [
        value
        for parameter, value in zip(method.parameters, params, strict=False)
        if parameter.right is not None and (value is not None or parameter.required)
    ]
    return bool(named) and all(value == token for value in named)
