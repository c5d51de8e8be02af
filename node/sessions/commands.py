"""The table of session commands: their arguments, the right each needs, and its implementation.

One row is a command everywhere: the RPC method ``zvmd_session_<name>``, `zvmd session <cli>`, and what share tokens
allow. The SDK, the terminal debugger and the debug adapter are checked against the table
(`tests/unit/node/test_session_commands.py`). So a command is added by adding its row here.

Functions are named as ``module:function`` and imported when the node runs them: the command line reads this table too,
and does not load the EVM for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum
from importlib import import_module
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import msgspec

from debugger.limits import EXPORT_STEPS, PAGE_MAX, TRACE_LINES
from debugger.slices import one_slice
from node.sessions.rights import Right, SessionRef

if TYPE_CHECKING:
    from node.api.pending_block import BlockAt
    from node.sessions.service import SessionService

PREFIX: Final = "zvmd_session_"
"""Prefix of the RPC methods."""


class ArgumentKind(Enum):
    """The type of an argument, as users write it."""

    SESSION = "session"
    """A session's number, or a share token where the command's right allows one."""
    NUMBER = "number"
    """0 to 2**256 - 1: a JSON number, decimal or 0x-hex text."""
    TEXT = "text"
    FLAG = "flag"
    OBJECT = "object"
    """A JSON object, which the command reads."""
    DATA = "data"
    """Bytes in 0x-hex."""
    ANY = "any"
    """Any JSON value, which the command reads."""


REQUIRED: Final = object()
"""Default of a required argument."""


class Argument(NamedTuple):
    """One argument, by position and by name."""

    name: str
    kind: ArgumentKind
    default: Any = REQUIRED
    most: int | None = None
    """Largest value; a larger one is reduced to it."""

    @property
    def is_required(self) -> bool:
        """Whether it has no default."""
        return self.default is REQUIRED


class CommandHost(Protocol):
    """The node that executes commands."""

    def need_sessions(self) -> SessionService:
        """The debug sessions."""

    def block_named(self, name: object) -> BlockAt:
        """The block of a number, tag or hash in JSON. Raises `InvalidParams`, `UnknownBlock`."""

    def need_signer(self) -> Callable[[bytes], bytes]:
        """The node's signing."""


Run = Callable[..., Any]
"""``run(host, *arguments)``: the answer, ready for JSON. A coroutine function, or a plain one that only reads."""
Function = str | Callable[..., Any]
"""A function, or its name as ``module:function``."""

_ID: Final = Argument("id", ArgumentKind.SESSION)


class Command(NamedTuple):
    """A row of the table."""

    name: str
    right: Right
    """The right needed for each session that the command names. Commands that name none are the owner's."""
    run: Run
    help: str
    """One line of help."""
    arguments: tuple[Argument, ...] = (_ID,)
    cli: str | None = None
    """Its command under ``zvmd session``; None: its name with dashes; empty: it has no command there."""
    spelt: tuple[str, ...] = ()
    """Its RPC methods, if their names differ from its own."""

    @property
    def methods(self) -> tuple[str, ...]:
        """Its RPC methods: in snake case and in camel case."""
        first, *rest = self.name.split("_")
        names = (self.name, first + "".join(map(str.capitalize, rest)))
        return self.spelt or tuple(dict.fromkeys(PREFIX + name for name in names))

    @property
    def cli_name(self) -> str:
        """Its command under ``zvmd session``; empty: none."""
        return self.name.replace("_", "-") if self.cli is None else self.cli


# How commands are carried out


_FOUND: dict[str, Callable[..., Any]] = {}
"""Functions by name, whose modules have been imported."""


def _imported(name: str) -> Callable[..., Any]:
    """The function of that name. Not on the event loop: to import its module takes ten milliseconds."""
    found = _FOUND.get(name)
    if found is None:
        module, _, function = name.partition(":")
        found = _FOUND[name] = attrgetter(function)(import_module(module))
    return found


async def _function(function: Function) -> Callable[..., Any]:
    """A function, or the one of that name, whose module is imported on a thread."""
    if not isinstance(function, str):
        return function
    found = _FOUND.get(function)
    return await asyncio.to_thread(_imported, function) if found is None else found


def _plain(value: object) -> Any:
    return msgspec.to_builtins(value, str_keys=True)


def _move(name: str, *constants: Any) -> Run:
    """A move of `debugger.moves`, which watchers see under its name; its answer is the new position."""

    async def run(host: CommandHost, ref: SessionRef, *arguments: Any) -> Any:
        move = await _function(f"debugger.moves:{name}")
        return await host.need_sessions().move(ref, move, *arguments, *constants, command=name)

    return run


def _alter(function: Function, command: str) -> Run:
    """A short change, ``function(session, *arguments)``; watchers see it as ``command``."""

    async def run(host: CommandHost, ref: SessionRef, *arguments: Any) -> Any:
        return await host.need_sessions().move(ref, one_slice(await _function(function)), *arguments, command=command)

    return run


def _read(function: Function, *constants: Any) -> Run:
    """A short read, ``function(session, *arguments, *constants)``."""

    async def run(host: CommandHost, ref: SessionRef, *arguments: Any) -> Any:
        found = await _function(function)
        return await host.need_sessions().read(lambda session: _plain(found(session, *arguments, *constants)), ref)

    return run


def _look(function: Function, *constants: Any) -> Run:
    """A long read, in slices; as `_read`."""

    async def run(host: CommandHost, ref: SessionRef, *arguments: Any) -> Any:
        found = await _function(function)
        work = lambda session, wants_pause: found(session, *arguments, *constants)  # noqa: ARG005, E731
        return _plain(await host.need_sessions().look(work, ref))

    return run


def _answer(name: str) -> Run:
    """A coroutine function of `node.sessions.answers`."""

    async def run(host: CommandHost, *arguments: Any) -> Any:
        answer = await _function(f"node.sessions.answers:{name}")
        return await answer(host, *arguments)

    return run


def _find(name: str) -> Run:
    """A function of `node.sessions.answers` that reads without using a session."""
    return lambda host, *arguments: _imported(f"node.sessions.answers:{name}")(host, *arguments)


# The table

_N = Argument("n", ArgumentKind.NUMBER, 1)
_FRAME = Argument("frame", ArgumentKind.NUMBER, None)
_OPTIONS = Argument("options", ArgumentKind.OBJECT, None)
_NAME = Argument("name", ArgumentKind.TEXT)
_OF_ORIGINAL = Argument("sessionId", ArgumentKind.SESSION)

_MOVING = (
    Command("step", Right.DRIVE, _move("step"), "Execute N operations, entering calls.", (_ID, _N)),
    Command("step_back", Right.DRIVE, _move("step_back"), "Undo N operations.", (_ID, _N), "back"),
    Command("step_over", Right.DRIVE, _move("step_over"), "Execute an operation and everything it calls.", cli="over"),
    Command("step_out", Right.DRIVE, _move("step_out"), "Run until the frame returns to its caller.", cli="out"),
    Command(
        "step_over_back", Right.DRIVE, _move("step_over_back"), "Undo an operation and everything it called.",
        cli="over-back",
    ),
    Command(
        "step_out_back", Right.DRIVE, _move("step_out_back"), "Go back to the operation that called this frame.",
        cli="out-back",
    ),
    Command("seek", Right.DRIVE, _move("seek"), "Go to a step.", (_ID, Argument("step", ArgumentKind.NUMBER))),
    Command(
        "run", Right.DRIVE, _move("run"), "Run to a breakpoint, the end or a pause.",
        (_ID, Argument("limit", ArgumentKind.NUMBER, None)),
    ),
    Command(
        "reverse_run", Right.DRIVE, _move("reverse_run"), "Run backwards to a breakpoint or the start.",
        cli="reverse",
    ),
    Command(
        "reset", Right.DRIVE, _alter("debugger.session:Session.reset", "reset"),
        "Go back to the start, without edits.",
    ),
    Command(
        "pause", Right.DRIVE, _answer("pause"),
        "Stop a long move or comparison soon, at the position it has got to.",
    ),
    Command(
        "checkout", Right.DRIVE, _move("checkout"), "Go to a branch, at a step or where it left its parent.",
        (_ID, Argument("branch", ArgumentKind.NUMBER), Argument("step", ArgumentKind.NUMBER, None)),
    ),
)  # fmt: skip

_LOOKING = (
    Command(
        "state", Right.WATCH, _answer("state"),
        "Everything at the position, in pages: {frame?, stack?: {offset, limit}, memory?, storage?, logs? ...}.",
        (_ID, Argument("query", ArgumentKind.OBJECT, None)),
    ),
    Command(
        "code", Right.WATCH, _read("debugger.frontend:read_code"),
        "Code of a frame (none: the running one, 0: the outermost), whether runtime code or init code.",
        (_ID, _FRAME, Argument("offset", ArgumentKind.NUMBER, 0), Argument("limit", ArgumentKind.NUMBER, PAGE_MAX)),
    ),
    Command(
        "timeline", Right.WATCH, _read("debugger.frontend:timeline_marks"),
        "Position, keyframes and edits of the current branch.",
    ),
    Command(
        "evaluate", Right.WATCH, _read("debugger.frontend:evaluate"),
        "Value of an expression in a frame (none: the running one); null where it has none, {bytes} if it is long.",
        (_ID, Argument("expression", ArgumentKind.TEXT), _FRAME),
    ),
    Command(
        "branches", Right.WATCH, _read("node.sessions.answers:branches_of"),
        "The branches that edits have created, with the one the session is on.",
    ),
    Command(
        "breakpoint_list", Right.WATCH, _read("node.sessions.answers:breakpoints_of"),
        "All breakpoints, with those that hold here.", cli="break",
    ),
    Command(
        "trace", Right.WATCH, _look("debugger.trace3155:trace_slices"), "A page of the run's EIP-3155 lines.",
        (
            _ID, Argument("start", ArgumentKind.NUMBER, 0),
            Argument("limit", ArgumentKind.NUMBER, TRACE_LINES, TRACE_LINES),
            Argument("memory", ArgumentKind.FLAG, False),
        ),
    ),
    Command(
        "call_tree", Right.WATCH, _look("debugger.calltree:call_tree_slices", EXPORT_STEPS),
        "All calls and creations of the run, as a tree.", cli="calls",
    ),
    Command(
        "compare", Right.WATCH, _answer("compare"),
        "The first step at which two runs differ: {ignoringGas?, limit?}.",
        (Argument("left", ArgumentKind.SESSION), Argument("right", ArgumentKind.SESSION), _OPTIONS), "diff",
        (PREFIX + "compare", PREFIX + "diff"),
    ),
    Command(
        "state_diff", Right.WATCH, _answer("state_diff"),
        "Differences between two positions of one session or of two. A step that is not given is the current one.",
        (
            _ID, Argument("leftStep", ArgumentKind.NUMBER, None), Argument("rightStep", ArgumentKind.NUMBER, None),
            Argument("right", ArgumentKind.SESSION, None),
        ),
    ),
    Command(
        "export", Right.WATCH, _answer("export"),
        "The session as one file, in hex; with sign, signed by the node's key (owners only).",
        (_ID, Argument("note", ArgumentKind.TEXT, None), Argument("sign", ArgumentKind.FLAG, False)),
    ),
    Command(
        "watch", Right.WATCH, _answer("watch"),
        "Follow a session live: events after the cursor are pushed, over QUIC and WebSocket.",
        (_ID, Argument("cursor", ArgumentKind.NUMBER, None)),
    ),
)  # fmt: skip

_CHANGING = (
    Command(
        "breakpoint_add", Right.DRIVE, _answer("breakpoint_add"),
        "Set a breakpoint {kind, pc?, opcode?, slot?, ...}; with the id of an existing one, replace it.",
        (_ID, Argument("breakpoint", ArgumentKind.OBJECT)), "break",
    ),
    Command(
        "breakpoint_remove", Right.DRIVE, _answer("breakpoint_remove"), "Remove a breakpoint.",
        (_ID, Argument("breakpoint", ArgumentKind.NUMBER)), "break",
    ),
    Command(
        "edit", Right.DRIVE, _answer("edit"),
        "Edit the state at the position, on a new branch: {kind, index?, value?, data?, address?}.",
        (_ID, Argument("edit", ArgumentKind.OBJECT)),
    ),
    Command(
        "rename", Right.DRIVE, _answer("rename"), "Set the session's name or tags.",
        (_ID, Argument("name", ArgumentKind.TEXT, None), Argument("tags", ArgumentKind.ANY, None)),
    ),
    Command(
        "drive", Right.DRIVE, _answer("drive"),
        "Take control: one drives at a time. {takeOver: true} also takes it from somebody else.", (_ID, _OPTIONS),
    ),
    Command("release", Right.DRIVE, _answer("release"), "Release control: the next one to move the session takes it."),
)  # fmt: skip

_OWNING = (
    Command(
        "create", Right.OWN, _answer("create"),
        "Create a session: {code | transaction | to, fork?, caller?, value?, calldata?, gas?, block?, name? ...}; "
        "the transaction is signed, or the hash of a mined one; the block is one of the chain, or an object of fields.",
        (Argument("program", ArgumentKind.OBJECT),), "new",
    ),
    Command(
        "import", Right.OWN, _answer("import_"), "Create a session from an exported file.",
        (Argument("file", ArgumentKind.DATA),),
    ),
    Command(
        "load", Right.OWN, _answer("load"),
        "Debug other bytecode from its start; fork, caller, calldata and breakpoints stay.",
        (_ID, Argument("code", ArgumentKind.TEXT)),
    ),
    Command(
        "save", Right.OWN, _answer("save"), "Copy the session as it is now; returns the copy's id.",
        (_ID, Argument("name", ArgumentKind.TEXT, None)),
    ),
    Command(
        "restore", Right.OWN, _answer("restore"), "Restore the session from a saved copy.",
        (_ID, Argument("saved", ArgumentKind.SESSION)), "load",
    ),
    Command("close", Right.OWN, _answer("close"), "Close a session; it cannot be opened again."),
    Command(
        "share", Right.OWN, _answer("share"),
        "Create a share token with the role watch or drive, valid for ttl seconds; it is shown only once.",
        (
            _ID, Argument("role", ArgumentKind.TEXT, "watch"), Argument("ttl", ArgumentKind.NUMBER, None),
            Argument("name", ArgumentKind.TEXT, ""),
        ),
    ),
    Command(
        "shares", Right.OWN, _answer("shares"),
        "All shares, and who is in control: a share's id, 0 for the owner, or null.",
    ),
    Command(
        "unshare", Right.OWN, _answer("unshare"), "Revoke a share: its token is refused from now on.",
        (_ID, Argument("share", ArgumentKind.NUMBER)),
    ),
    Command(
        "pin", Right.OWN, _answer("pin"), "Pin a session, so that it never expires; with false, unpin it.",
        (_ID, Argument("pinned", ArgumentKind.FLAG, True)),
    ),
    Command(
        "list", Right.OWN, _find("list_sessions"),
        "Sessions that match {name?, tag?, contract?, halt?, usedFrom? ..., limit?, cursor?}, the newest first. A page "
        "shorter than the limit is the last; the cursor is the id in the last line of the previous page.",
        (Argument("search", ArgumentKind.OBJECT, None),),
    ),
    Command(
        "templates", Right.OWN, _find("templates"),
        "All templates with their programs; own marks the users'.", (), "",
    ),
    Command(
        "template_list", Right.OWN, _find("template_list"), "Name, title and tags of every template.", (),
        "template list",
    ),
    Command(
        "template_show", Right.OWN, _find("template_show"),
        "A template: its program, its explanation and its expected end.",
        (_NAME,), "template show",
    ),
    Command(
        "template_save", Right.OWN, _answer("template_save"),
        "Save a template: {toml}, or {session, name, title?, explanation?} from a bytecode session. It is run once: a "
        "TOML text must end as it says; the end of a session becomes the expected one.",
        (Argument("template", ArgumentKind.OBJECT),), "template save",
    ),
    Command(
        "template_remove", Right.OWN, _answer("template_remove"), "Remove one of your own templates.", (_NAME,),
        "template remove",
    ),
    Command(
        "from_template", Right.OWN, _answer("from_template"),
        "Create a session with a template's program.", (_NAME,), "new"
    ),
)  # fmt: skip


def _original(names: str, run: str, help_: str, *arguments: Argument) -> Command:
    """One of the eight operations of zvmd's predecessor, under the names of its front end and of its engine.

    Each names its session; the active one is remembered for clients that show one at a time.
    """
    methods = tuple("zvmd_" + name for name in names.split())
    return Command(run, Right.OWN, _answer(run), help_, arguments, "", methods)


_ORIGINAL = (
    _original("create_session createSession", "create_empty", "Create a session with an empty program, to be loaded."),
    _original(
        "close_session closeSession", "close_session",
        "Close a session; returns whether it existed.", _OF_ORIGINAL,
    ),
    _original(
        "set_active_session setActiveSession", "set_active", "Set the active session.", _OF_ORIGINAL
    ),
    _original(
        "load_bytecode loadBytecodeForSession", "load_bytecode", "Replace the program's code; returns the state.",
        _OF_ORIGINAL, Argument("bytecodeHex", ArgumentKind.TEXT),
    ),
    _original("reset_evm resetSession", "reset_evm", "Go back to the start; returns the state.", _OF_ORIGINAL),
    _original("step_evm stepSession", "step_evm", "Execute one operation; returns the state.", _OF_ORIGINAL),
    _original(
        "toggle_run_pause toggleRunPauseSession", "toggle_run_pause",
        "Start running in the background, or pause; returns whether it runs. The state can be read while it runs.",
        _OF_ORIGINAL,
    ),
    _original("get_evm_state getSessionState", "whole_state", "The whole state.", _OF_ORIGINAL),
)  # fmt: skip

COMMANDS: Final = {row.name: row for row in (*_MOVING, *_LOOKING, *_CHANGING, *_OWNING, *_ORIGINAL)}
"""All commands, by name."""
BY_METHOD: Final = {method: row for row in COMMANDS.values() for method in row.methods}
"""The same by RPC method."""
