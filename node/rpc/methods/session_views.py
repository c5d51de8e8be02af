"""``zvmd_session_``: code, timeline and values of expressions, which front ends show besides the state."""

from __future__ import annotations

from typing import Any

import msgspec

from debugger import frontend
from debugger.limits import PAGE_MAX
from node.rpc.context import Context
from node.rpc.params import LooseInt, ToLook
from node.rpc.registry import method

Json = dict[str, Any]
S = "zvmd_session_"


@method(S + "code")
async def code(
    context: Context,
    id_: ToLook,
    frame: LooseInt | None = None,
    offset: LooseInt | None = None,
    limit: LooseInt | None = None,
) -> Json:
    """Code of a frame (none: the running one, 0: the outermost), whether runtime code or init code."""
    count = PAGE_MAX if limit is None else limit
    answer: Json = await context.need_sessions().read(
        lambda found: msgspec.to_builtins(frontend.read_code(found, frame, offset or 0, count)), id_
    )
    return answer


@method(S + "timeline")
async def timeline(context: Context, id_: ToLook) -> Json:
    """Position, keyframes and edits of the current branch."""
    answer: Json = await context.need_sessions().read(
        lambda found: msgspec.to_builtins(frontend.timeline_marks(found)), id_
    )
    return answer


@method(S + "evaluate")
async def evaluate(
    context: Context, id_: ToLook, expression: str, frame: LooseInt | None = None
) -> str | Json | None:
    """Value of a breakpoint expression in a frame (none: the running one); null where it has none.

    A word is a quantity; ``calldata``, ``mem`` and their parts of more than 32 bytes are ``{bytes}``.
    """
    answer: str | Json | None = await context.need_sessions().read(
        lambda found: msgspec.to_builtins(frontend.evaluate(found, expression, frame)), id_
    )
    return answer
