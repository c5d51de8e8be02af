"""``zvmd_session_``: debug sessions. A move answers with the session's new position once that is durable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from debugger import commands
from debugger.breakpoints import Breakpoint
from debugger.calltree import call_tree_slices
from debugger.diff import compare_slices
from debugger.edits import Edit
from debugger.errors import InvalidBreakpoint, InvalidEdit, InvalidProgram, SessionError
from debugger.limits import EXPORT_STEPS, TRACE_LINES
from debugger.session import Session
from debugger.sharing import export_slices, sign_file, signer_of
from debugger.state import StateQuery
from debugger.state_diff import diff_state_slices
from debugger.trace3155 import trace_slices
from node.api.pending_block import BlockAt
from node.rpc.context import Context
from node.rpc.params import JsonObject, LooseInt, SessionRef, ToDrive, ToLook, ToOwn, block_ref
from node.rpc.registry import method
from node.sessions import moves
from node.sessions.creating import program_of
from node.sessions.shares import Right
from node.sessions.where import Json, plain, where

T = TypeVar("T")
S = "zvmd_session_"


def _convert(value: object, kind: type[T], error: type[SessionError]) -> T:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as failure:
        raise error(str(failure)[:300]) from None


async def _command(context: Context, ref: SessionRef, command: commands.Command) -> Json:
    """Carry out a command; returns the session's new position."""
    name = str(type(command).__struct_config__.tag)
    return await context.need_sessions().change(ref, moves.answering(moves.move(command)), name)


@method(S + "create")
async def create(context: Context, program: JsonObject) -> Json:
    """Create a session: ``{code | transaction | to, fork?, caller?, value?, calldata?, gas?, block?, name? ...}``.

    ``transaction`` is the hash of a mined one or a signed one; ``block`` a block of the chain, whose state and
    environment the session gets, or an object of block fields over an empty state.
    """
    service = context.need_sessions()

    def block_named(name: object) -> BlockAt:
        return context.need_block(block_ref(name))

    wanted = await service.on_thread(lambda: program_of(block_named, service.ground, program))
    return {"id": await service.create(wanted.program, wanted.origin, wanted.name, wanted.tags)}


@method(S + "step")
async def step(context: Context, id_: ToDrive, n: LooseInt | None = None) -> Json:
    """Execute operations, entering calls."""
    return await _command(context, id_, commands.Step(1 if n is None else n))


@method(S + "step_back", S + "stepBack")
async def step_back(context: Context, id_: ToDrive, n: LooseInt | None = None) -> Json:
    """Undo operations."""
    return await _command(context, id_, commands.StepBack(1 if n is None else n))


@method(S + "step_over", S + "stepOver")
async def step_over(context: Context, id_: ToDrive) -> Json:
    """Execute an operation and everything it calls."""
    return await _command(context, id_, commands.StepOver())


@method(S + "step_out", S + "stepOut")
async def step_out(context: Context, id_: ToDrive) -> Json:
    """Run until the current frame returns to its caller."""
    return await _command(context, id_, commands.StepOut())


@method(S + "step_over_back", S + "stepOverBack")
async def step_over_back(context: Context, id_: ToDrive) -> Json:
    """Undo an operation and everything it called."""
    return await _command(context, id_, commands.StepOverBack())


@method(S + "step_out_back", S + "stepOutBack")
async def step_out_back(context: Context, id_: ToDrive) -> Json:
    """Go back to the operation that called this frame."""
    return await _command(context, id_, commands.StepOutBack())


@method(S + "seek")
async def seek(context: Context, id_: ToDrive, step: LooseInt) -> Json:
    """Go to a step."""
    return await _command(context, id_, commands.Seek(step))


@method(S + "run")
async def run(context: Context, id_: ToDrive, limit: LooseInt | None = None) -> Json:
    """Run to a breakpoint, the end or a pause."""
    return await _command(context, id_, commands.Run(limit))


@method(S + "pause")
async def pause(context: Context, id_: ToDrive) -> bool:
    """Stop a long move or comparison soon, at the position it has got to."""
    context.need_sessions().pause(id_)
    return True


@method(S + "reverse_run", S + "reverseRun")
async def reverse_run(context: Context, id_: ToDrive) -> Json:
    """Run backwards to a breakpoint or the start."""
    return await _command(context, id_, commands.ReverseRun())


@method(S + "load")
async def load(context: Context, id_: ToOwn, code: str) -> Json:
    """Debug other bytecode from its start; fork, caller, calldata and breakpoints stay."""
    return await context.need_sessions().change(id_, moves.answering(moves.loading(code)), "load")


@method(S + "reset")
async def reset(context: Context, id_: ToDrive) -> Json:
    """Go back to the start, without edits."""
    return await _command(context, id_, commands.Reset())


@method(S + "state")
async def state(context: Context, id_: ToLook, query: JsonObject | None = None) -> Json:
    """The whole state, in pages: ``{frame?, stack?: {offset, limit}, memory?, storage?, logs? ...}``."""
    wanted = _convert(query or {}, StateQuery, InvalidProgram)
    answer: Json = await context.need_sessions().read(lambda found: plain(found.state(wanted)), id_)
    return answer


@method(S + "breakpoint_add", S + "breakpointAdd")
async def breakpoint_add(context: Context, id_: ToDrive, breakpoint_: JsonObject) -> Json:
    """Set a breakpoint ``{kind, pc?, opcode?, slot?, ...}``; with the id of an existing one, replace it."""
    point = _convert(breakpoint_, Breakpoint, InvalidBreakpoint)

    def work(found: Session, _: object) -> Any:
        yield
        return plain(found.set_breakpoint(point)[0])["breakpoint"]

    answer: Json = await context.need_sessions().change(id_, work, "set_breakpoint")
    return answer


@method(S + "breakpoint_remove", S + "breakpointRemove")
async def breakpoint_remove(context: Context, id_: ToDrive, breakpoint_: LooseInt) -> bool:
    """Remove a breakpoint."""
    await _command(context, id_, commands.RemoveBreakpoint(breakpoint_))
    return True


@method(S + "breakpoint_list", S + "breakpointList")
async def breakpoint_list(context: Context, id_: ToLook) -> list[Json]:
    """All breakpoints, with ``holds`` for those that hold here."""

    def look(found: Session) -> list[Json]:
        holding = set(found.holding())
        return [{**plain(b), "id": b.id, "holds": b.id in holding} for b in found.breakpoints.values()]

    return await context.need_sessions().read(look, id_)


@method(S + "edit")
async def edit(context: Context, id_: ToDrive, edit: JsonObject) -> Json:
    """Edit the state at the position, on a new branch: ``{kind, index?, value?, data?, address?}``."""
    return await _command(context, id_, commands.MakeEdit(_convert(edit, Edit, InvalidEdit)))


@method(S + "branches")
async def branches(context: Context, id_: ToLook) -> list[Json]:
    """All branches, with ``current`` for the one the session is on."""

    def look(found: Session) -> list[Json]:
        return [{**plain(b), "current": b.id == found.branch} for _, b in sorted(found.branches.items())]

    return await context.need_sessions().read(look, id_)


@method(S + "checkout")
async def checkout(context: Context, id_: ToDrive, branch: LooseInt, step: LooseInt | None = None) -> Json:
    """Go to a branch."""
    return await _command(context, id_, commands.Checkout(branch, step))


@method(S + "rename")
async def rename(context: Context, id_: ToDrive, name: str | None = None, tags: object = None) -> bool:
    """Set the name, the tags or both."""
    chosen = None if tags is None else _convert(tags, tuple[str, ...], InvalidProgram)
    await _command(context, id_, commands.Rename(name, chosen))
    return True


@method(S + "save")
async def save(context: Context, id_: ToOwn, name: str | None = None) -> Json:
    """Copy the session as it is now, to return to with ``_restore``."""
    service = context.need_sessions()
    copied = await service.copy(id_)
    if name is not None:
        await _command(context, copied, commands.Rename(name))
    return {"id": copied}


@method(S + "restore")
async def restore(context: Context, id_: ToOwn, saved: ToOwn) -> Json:
    """Restore a session from a saved copy."""
    service = context.need_sessions()
    await service.copy(saved, id_)
    return await service.read(lambda found: where(found, []), id_)


@method(S + "export")
async def export(context: Context, id_: ToLook, note: str | None = None, sign: bool = False) -> str:
    """The session as one file, in hex; with ``sign``, signed by the node's key (owners only)."""
    if sign:
        context.need_sessions().live.check(id_, Right.OWN)
    file = await context.need_sessions().look(lambda _, found: export_slices(found, note or ""), id_)
    return "0x" + (sign_file(file, context.need_signer()) if sign else file).hex()


@method(S + "import")
async def import_(context: Context, file: bytes) -> Json:
    """Create a session from an exported file; returns also the public key of its signature, null if unsigned."""
    number = await context.need_sessions().import_file(file)
    signer = signer_of(file)
    return {"id": number, "signedBy": None if signer is None else "0x" + signer.hex()}


@method(S + "compare", S + "diff")
async def compare_(context: Context, left: ToLook, right: ToLook, options: JsonObject | None = None) -> Json:
    """The first step at which two runs differ: ``{ignoringGas?, limit?}``."""
    chosen = _convert(options or {}, _CompareOptions, InvalidProgram)
    limit = min(chosen.limit, EXPORT_STEPS)

    def look(wants_pause: Callable[[], bool], one: Session, two: Session) -> Any:
        return compare_slices(one, two, ignoring_gas=chosen.ignoring_gas, limit=limit, wants_pause=wants_pause)

    found: Json = plain(await context.need_sessions().look(look, left, right))
    return found


@method(S + "state_diff", S + "stateDiff")
async def state_diff(
    context: Context,
    id_: ToLook,
    left_step: LooseInt | None = None,
    right_step: LooseInt | None = None,
    right: ToLook | None = None,
) -> Json:
    """Differences between two positions of one session or of two: accounts, storage, stack, memory.

    A step that is not given is the session's position.
    """
    service = context.need_sessions()

    def look(_: object, one: Session, two: Session) -> Any:
        steps = [found.step_index if step is None else step for found, step in ((one, left_step), (two, right_step))]
        return diff_state_slices(one, steps[0], two, steps[1])

    found: Json = plain(await service.look(look, id_, id_ if right is None else right))
    return found


class _CompareOptions(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    ignoring_gas: bool = False
    limit: int = EXPORT_STEPS


@method(S + "trace")
async def trace(
    context: Context,
    id_: ToLook,
    start: LooseInt | None = None,
    limit: LooseInt | None = None,
    memory: bool = False,
) -> Json:
    """A page of the run's EIP-3155 lines."""
    count = min(TRACE_LINES if limit is None else limit, TRACE_LINES)
    page: Json = plain(
        await context.need_sessions().look(lambda _, found: trace_slices(found, start or 0, count, memory=memory), id_)
    )
    return page


@method(S + "call_tree", S + "callTree")
async def call_tree(context: Context, id_: ToLook) -> Json:
    """The tree of all calls and creations of the run."""
    tree: Json = plain(
        await context.need_sessions().look(lambda _, found: call_tree_slices(found, EXPORT_STEPS), id_)
    )
    return tree


@method(S + "close")
async def close(context: Context, id_: ToOwn) -> bool:
    """End a session."""
    service = context.need_sessions()
    await service.close(id_)
    return True
