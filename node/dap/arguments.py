"""The types of the arguments of DAP requests; a value of another type is refused with its path.

Properties that the adapter does not use are left out: msgspec ignores unknown ones, as the protocol requires.
https://microsoft.github.io/debug-adapter-protocol/specification
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0)]
Granularity = Literal["statement", "line", "instruction"]
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]{1,16}|[0-9]{1,18}")


class Arguments(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Arguments of a request that uses none."""


class Initialize(Arguments, frozen=True, kw_only=True):
    adapter_id: str = msgspec.field(name="adapterID")
    lines_start_at1: bool = True
    columns_start_at1: bool = True
    path_format: str = "path"
    supports_invalidated_event: bool = False
    supports_memory_event: bool = False
    supports_variable_type: bool = False


class Launch(Arguments, frozen=True, kw_only=True):
    """A program, or ``template``, or ``session``: number or share token of an existing one."""

    no_debug: bool = False
    stop_on_entry: bool = True
    keep: bool = False
    session: int | str | None = None
    template: str | None = None
    code: Any = None
    to: Any = None
    transaction: Any = None
    fork: Any = None
    caller: Any = None
    value: Any = None
    calldata: Any = None
    gas: Any = None
    block: Any = None
    state: Any = None
    create: Any = None
    address: Any = None


PROGRAM = (
    "code", "to", "transaction", "fork", "caller", "value", "calldata", "gas", "block", "state", "create",
    "address",
)  # fmt: skip
"""Fields of a launch that form the session's program."""


class Restart(Arguments, frozen=True, kw_only=True):
    arguments: Launch | None = None


class Disconnect(Arguments, frozen=True, kw_only=True):
    restart: bool = False
    terminate_debuggee: bool | None = None
    suspend_debuggee: bool = False


class Cancel(Arguments, frozen=True, kw_only=True):
    request_id: int | None = None
    progress_id: str | None = None


class Thread(Arguments, frozen=True, kw_only=True):
    thread_id: int


class Move(Thread, frozen=True, kw_only=True):
    granularity: Granularity = "statement"
    single_thread: bool = False
    target_id: int | None = None


class StackTrace(Thread, frozen=True, kw_only=True):
    start_frame: Count = 0
    levels: Count = 0


class FrameArguments(Arguments, frozen=True, kw_only=True):
    frame_id: int


class Goto(Thread, frozen=True, kw_only=True):
    target_id: int


class Source(Arguments, frozen=True, kw_only=True):
    name: str | None = None
    path: str | None = None
    source_reference: int = 0


class SourceText(Arguments, frozen=True, kw_only=True):
    source_reference: int
    source: Source | None = None


class GotoTargets(Arguments, frozen=True, kw_only=True):
    source: Source
    line: int
    column: int | None = None


class Disassemble(Arguments, frozen=True, kw_only=True):
    memory_reference: str
    instruction_count: Count
    offset: int = 0
    instruction_offset: int = 0
    resolve_symbols: bool = False


class BreakpointCondition(Arguments, frozen=True, kw_only=True):
    """Arguments of every kind of breakpoint."""

    condition: str = ""
    hit_condition: str = ""


class SourceBreakpoint(BreakpointCondition, frozen=True, kw_only=True):
    line: int
    column: int | None = None
    log_message: str = ""


class SetBreakpoints(Arguments, frozen=True, kw_only=True):
    source: Source
    breakpoints: list[SourceBreakpoint] | None = None
    lines: list[int] = []
    """Deprecated in favour of ``breakpoints``."""
    source_modified: bool = False


class InstructionBreakpoint(BreakpointCondition, frozen=True, kw_only=True):
    instruction_reference: str
    offset: int = 0


class SetInstructionBreakpoints(Arguments, frozen=True, kw_only=True):
    breakpoints: list[InstructionBreakpoint]


class FunctionBreakpoint(BreakpointCondition, frozen=True, kw_only=True):
    name: str


class SetFunctionBreakpoints(Arguments, frozen=True, kw_only=True):
    breakpoints: list[FunctionBreakpoint]


class FilterOptions(Arguments, frozen=True, kw_only=True):
    filter_id: str
    condition: str = ""


class SetExceptionBreakpoints(Arguments, frozen=True, kw_only=True):
    filters: list[str]
    filter_options: list[FilterOptions] = []


class DataBreakpointInfo(Arguments, frozen=True, kw_only=True):
    name: str
    variables_reference: Count = 0
    frame_id: int | None = None
    bytes: Count | None = None
    as_address: bool = False


class DataBreakpoint(BreakpointCondition, frozen=True, kw_only=True):
    data_id: str
    access_type: Literal["read", "write", "readWrite"] = "write"


class SetDataBreakpoints(Arguments, frozen=True, kw_only=True):
    breakpoints: list[DataBreakpoint]


class Variables(Arguments, frozen=True, kw_only=True):
    variables_reference: int
    filter: Literal["indexed", "named"] | None = None
    start: Count = 0
    count: Count = 0


class SetVariable(Arguments, frozen=True, kw_only=True):
    variables_reference: int
    name: str
    value: str


class SetExpression(Arguments, frozen=True, kw_only=True):
    expression: str
    value: str
    frame_id: int | None = None


class Evaluate(Arguments, frozen=True, kw_only=True):
    expression: str
    frame_id: int | None = None
    context: str = ""


class ReadMemory(Arguments, frozen=True, kw_only=True):
    memory_reference: str
    count: Count
    offset: int = 0


class WriteMemory(Arguments, frozen=True, kw_only=True):
    memory_reference: str
    data: str
    offset: int = 0
    allow_partial: bool = False


class Refused(Exception):
    """A request that cannot be carried out; the message is shown to the user."""


def number_in(text: str, what: str) -> int:
    """The number in a text argument. Raises `Refused`."""
    if not _NUMBER.fullmatch(text):
        raise Refused(f"{what} is not a number: {text[:100]!r}")
    return int(text, 16 if text[:2] in ("0x", "0X") else 10)


def read(arguments: object, kind: type[Arguments]) -> Any:
    """Convert the arguments to their type; null counts as absent. Raises `Refused`."""
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        raise Refused("arguments are an object")
    try:
        return msgspec.convert(_without_nulls(arguments), kind)
    except msgspec.ValidationError as error:
        raise Refused(f"{error}"[:500]) from None
    except UnicodeError:
        raise Refused("a string has half a surrogate pair") from None


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value
