"""The eight operations of zvmd's predecessor, under their names, over the node's sessions.

``zvmd_`` and the name, as its front end called them (``step_evm``) and as its engine did (``stepSession``). Every one
names its session: the active one is remembered for clients that show one at a time, and no operation depends on it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from debugger import commands
from debugger.errors import SessionNotFound
from debugger.program import Program
from node.rpc.context import Context
from node.rpc.params import ToOwn
from node.rpc.registry import method
from node.sessions.moves import answering, loading, move

Json = dict[str, Any]


async def _state(context: Context, session: int) -> Json:
    answer: Json = await context.need_sessions().read(
        lambda found: msgspec.to_builtins(found.state(), str_keys=True), session
    )
    return answer


@method("zvmd_create_session", "zvmd_createSession")
async def create_session(context: Context) -> int:
    """Create a session with an empty program, to be loaded; returns its id."""
    return await context.need_sessions().create_plain(Program(code="0x"), "")


@method("zvmd_close_session", "zvmd_closeSession")
async def close_session(context: Context, session_id: ToOwn) -> bool:
    """End a session; returns whether it existed. The active session is not replaced."""
    try:
        await context.need_sessions().close(session_id)
    except SessionNotFound:
        return False
    return True


@method("zvmd_set_active_session", "zvmd_setActiveSession")
def set_active_session(context: Context, session_id: ToOwn) -> bool:
    """Set the active session, which ``zvmd_status`` shows."""
    context.need_sessions().set_active(session_id)
    return True


@method("zvmd_load_bytecode", "zvmd_loadBytecodeForSession")
async def load_bytecode(context: Context, session_id: ToOwn, bytecode_hex: str) -> Json:
    """Replace the session's code, keeping fork, caller and the rest; returns the state."""

    await context.need_sessions().change(session_id, answering(loading(bytecode_hex)), "load")
    return await _state(context, session_id)


@method("zvmd_reset_evm", "zvmd_resetSession")
async def reset_evm(context: Context, session_id: ToOwn) -> Json:
    """Go back to the start; returns the state."""
    await context.need_sessions().change(session_id, answering(move(commands.Reset())), "reset")
    return await _state(context, session_id)


@method("zvmd_step_evm", "zvmd_stepSession")
async def step_evm(context: Context, session_id: ToOwn) -> Json:
    """Execute one operation; returns the state."""
    await context.need_sessions().change(session_id, answering(move(commands.Step())), "step")
    return await _state(context, session_id)


@method("zvmd_toggle_run_pause", "zvmd_toggleRunPauseSession")
async def toggle_run_pause(context: Context, session_id: ToOwn) -> bool:
    """Start running in the background, or pause; returns whether it runs. The state can be read while it runs."""
    return context.need_runner().toggle(session_id)


@method("zvmd_get_evm_state", "zvmd_getSessionState")
async def get_evm_state(context: Context, session_id: ToOwn) -> Json:
    """The state: pc, opcode, gasLeft, depth, stack, memory, storage, logs, returnData and more."""
    return await _state(context, session_id)
