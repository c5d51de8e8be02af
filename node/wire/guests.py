"""What a peer may ask that said Hello with a session's share token instead of the node's."""

from __future__ import annotations

from typing import Final

from node.wire.errors import GuestRefused
from zvmd.frames import CallMethod, Request, Subscribe, Unsubscribe

_S: Final = "zvmd_session_"
_MOVES: Final = ("step", "step_back", "step_over", "step_out", "step_over_back", "step_out_back", "seek", "run")
_CHANGES: Final = ("reverse_run", "pause", "reset", "breakpoint_add", "breakpoint_remove", "edit", "checkout", "rename")
_LOOKS: Final = ("state", "breakpoint_list", "branches", "export", "trace", "call_tree", "state_diff")
GUEST_METHODS: Final = frozenset(_S + name for name in (*_MOVES, *_CHANGES, *_LOOKS, "drive", "release"))
"""Methods whose first parameter names the session; what the token's role allows is checked where they are done."""


def check_guest(request: Request, token: str) -> None:
    """Raises `GuestRefused` unless the request concerns the session the token was given for, and names it so."""
    if isinstance(request, Unsubscribe):
        return
    if isinstance(request, Subscribe) and request.kind == "session" and request.session == token:
        return
    if isinstance(request, CallMethod) and request.method in GUEST_METHODS:
        params = request.params
        first = params[0] if isinstance(params, list) and params else None
        if first == token:
            return
    raise GuestRefused("a share token opens one session only, named by the token itself")
