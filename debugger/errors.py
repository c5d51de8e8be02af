"""Errors of debug sessions.

    ZvmdError
    └── SessionError                     session.error
        ├── InvalidProgram               session.program
        ├── InvalidBreakpoint            session.breakpoint
        ├── InvalidExpression            session.expression
        ├── InvalidEdit                  session.edit
        ├── StepOutOfRange               session.step
        ├── SessionNotFound              session.not_found
        ├── SessionLimitReached          session.limit
        ├── SessionDiverged              session.diverged
        ├── InvalidTemplate              session.template
        └── SessionFileRefused           session_file.refused
            ├── NotASessionFile          session_file.format
            ├── SessionFileTooNew        session_file.version
            ├── SessionFileTooLarge      session_file.size
            ├── SessionFileDamaged       session_file.damaged
            ├── SessionFileMalformed     session_file.malformed
            ├── SessionStateMismatch     session_file.state
            └── SessionSignatureWrong    session_file.signature

A fault of the debugged program is not an error here: it is the session's halt.
"""

from __future__ import annotations

from chain.errors import ZvmdError


class SessionError(ZvmdError):
    """A session cannot carry out a command; it is unchanged."""

    code = "session.error"
    rpc_code = -32602
    hint = "the session is unchanged; see the message"


class InvalidProgram(SessionError):
    """The description of what to run is incomplete, contradictory or out of range."""

    code = "session.program"
    hint = "give exactly one of code, to and transaction; numbers as 0x-prefixed hex or integers"


class InvalidBreakpoint(SessionError):
    """A breakpoint lacks a field that its kind requires, or names something that does not exist."""

    code = "session.breakpoint"
    hint = (
        "kinds: pc, line, opcode, slot_write, slot_read, memory_write, memory_read, log, depth, call, revert, gas, "
        "expression"
    )


class InvalidExpression(SessionError):
    """The text is not a valid breakpoint expression."""

    code = "session.expression"
    hint = "for example: op == SSTORE && stack[0] == 0x5, or gas < 10000 && depth > 1"


class InvalidEdit(SessionError):
    """An edit does not fit the position: no such stack word, pc inside push data, out of range."""

    code = "session.edit"
    hint = "read the state at the position first; edits apply to the running frame"


class StepOutOfRange(SessionError):
    """The step lies before the start or beyond the end of the run."""

    code = "session.step"
    hint = "steps count executed operations of all frames from 0; run to the end to learn how many there are"


class SessionNotFound(SessionError):
    """There is no session, branch, breakpoint or template with this id."""

    code = "session.not_found"
    hint = "list the sessions; ids are never reused"


class SessionLimitReached(SessionError):
    """A limit of `debugger.limits` is reached."""

    code = "session.limit"
    rpc_code = -32005
    hint = "close or delete what is no longer needed"


class SessionDiverged(SessionError):
    """The replay of a stored session ends in another state than the stored one."""

    code = "session.diverged"
    rpc_code = -32000
    hint = "the session was stored by an engine that executes differently; report it with an export"


class InvalidTemplate(SessionError):
    """A template file cannot be read."""

    code = "session.template"
    hint = "see config/templates for the format"


class SessionFileRefused(SessionError):
    """A session file cannot be imported; nothing was changed."""

    code = "session_file.refused"
    hint = "export the file again"


class NotASessionFile(SessionFileRefused):
    """The bytes do not begin with the magic of a session file."""

    code = "session_file.format"
    hint = "give a file written by session export"


class SessionFileTooNew(SessionFileRefused):
    """The file has a format of a later version."""

    code = "session_file.version"
    hint = "import it with the version that wrote it, or a later one"


class SessionFileTooLarge(SessionFileRefused):
    """The file, its decompressed content, or a part of it exceeds a limit."""

    code = "session_file.size"
    hint = "the limits are those of debugger/limits.py; export a shorter run"


class SessionFileDamaged(SessionFileRefused):
    """The file is truncated, has extra bytes, or its content has another digest."""

    code = "session_file.damaged"
    hint = "transfer the file again"


class SessionFileMalformed(SessionFileRefused):
    """A section is unknown, missing, duplicated, or does not match its schema."""

    code = "session_file.malformed"
    hint = "the file was not written by zvmd or was altered; ask for a new export"


class SessionStateMismatch(SessionFileRefused):
    """State or code in the file does not have the root or hash that the file states."""

    code = "session_file.state"
    hint = "do not trust this file: its state was altered after the export"


class SessionSignatureWrong(SessionFileRefused):
    """The file is signed, but not by the key it names."""

    code = "session_file.signature"
    hint = "do not trust this file: it was altered after it was signed"
