"""JSON-RPC 2.0 semantics without I/O: bodies in, calls and answers out. Every transport ends here.

The transports differ in how they wait, so a call is handed over in two steps: `Dispatcher.prepare` finds the
method and parses its parameters, `Call.run` (a read, on any thread) or `Call.start` (a coroutine of the loop)
does the work.
"""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from chain.errors import ZvmdError
from node.api.errors import LimitExceeded
from node.rpc import deep_json, strict_json
from node.rpc.auditing import audit_of, note_call, recorded
from node.rpc.caller import NODE, Caller
from node.rpc.context import Context
from node.rpc.cost import PART, ReadPrice
from node.rpc.errors import InternalError, InvalidRequest, RequestTooLarge, error_object
from node.rpc.registry import Method, find_method, known_method
from node.rpc.rights import Rights
from storage.errors import StateStoreCorrupt

_log = structlog.get_logger("rpc")
_encode = msgspec.json.Encoder().encode

SMALL_VALUES = 128
SMALL_TEXT = 64
"""Characters that count as one more value."""

RequestId = str | int | float | None


class _NoId:
    """Marks a notification; ``null`` is a valid id."""


NO_ID = _NoId()


@dataclass(slots=True)
class Request:
    """One request of a body, or the refusal of an invalid one."""

    id: RequestId | _NoId
    method: str
    params: list[Any] | dict[str, Any]
    refusal: ZvmdError | None = None
    is_large: bool = False
    """Whether its body is too large to be handled on the event loop."""
    caller: Caller = NODE
    price: ReadPrice = PART

    @property
    def is_notification(self) -> bool:
        """Whether it has no id and gets no answer."""
        return self.id is NO_ID


@dataclass(slots=True)
class Body:
    """A decoded body."""

    requests: list[Request]
    is_batch: bool


@dataclass(slots=True)
class Call:
    """A method with its typed arguments."""

    method: Method
    context: Context
    arguments: list[Any]

    def run(self) -> Any:
        """Answer of a read. Raises `ZvmdError`; a bug becomes `InternalError`."""
        return run_read(self.method, self.context, self.arguments)

    def start(self) -> Coroutine[Any, Any, Any]:
        """The coroutine that answers, after the audit log has a record of what it must tell of."""
        audit = audit_of(self.context, self.method)
        if audit is None:
            return self._guard()
        return recorded(self._guard(), audit, self.context.caller, self.method.name, self.arguments)

    async def _guard(self) -> Any:
        try:
            return await self.method.handler(self.context, *self.arguments)
        except Exception as error:
            _tell(self.method, self.context, error)
            raise


def run_read(method: Method, context: Context, arguments: list[Any]) -> Any:
    """Answer of a read. Raises `ZvmdError`; a bug becomes `InternalError`."""
    if (audit := audit_of(context, method)) is not None:
        note_call(audit, context.caller, method.name, arguments, "read")
    try:
        return method.handler(context, *arguments)
    except Exception as error:
        _tell(method, context, error)
        raise


def _tell(method: Method, context: Context, error: Exception) -> None:
    """Report damage to the node. Raises `InternalError` for a bug."""
    if isinstance(error, StateStoreCorrupt):
        context.damaged(error)
    elif not isinstance(error, ZvmdError):
        raise internal_error(method.name, error) from error


def internal_error(name: str, error: Exception) -> InternalError:
    """The answer to a request that hit a bug; the traceback goes to the log only."""
    _log.error("request_failed", method=name, exc_info=error)
    return InternalError(f"{name}: {type(error).__name__}")


class Dispatcher:
    """Finds and prepares calls; encodes their answers."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def decode(self, body: bytes, caller: Caller) -> Body:
        """The requests of a body; one that the caller has no right to make carries its refusal.

        Raises `ParseError` or `InvalidRequest` when the whole body is unusable.
        """
        value = strict_json.decode(body, self.context.limits)
        is_large = len(body) > strict_json.LARGE_BYTES
        if not isinstance(value, list):
            return Body([_request(value, is_large, caller)], is_batch=False)
        if not value:
            raise InvalidRequest("an empty batch")
        if len(value) > self.context.limits.batch_size_max:
            raise RequestTooLarge(f"a batch of {len(value)}; the limit is {self.context.limits.batch_size_max}")
        return Body([_request(item, is_large, caller) for item in value], is_batch=True)

    def prepare(self, name: str, params: list[Any] | dict[str, Any], caller: Caller = NODE) -> Call:
        """The call meant, for a caller whose right to the method was checked.

        Rights to sessions are checked here, for all methods and transports. Raises `MethodNotFound`, `InvalidParams`,
        and what `Sharings.check` raises for a session named.
        """
        method = find_method(name)
        arguments = method.arguments(params)
        for position, right in method.session_rights:
            if arguments[position] is not None:
                self.context.need_sessions().sharings.check(arguments[position], right)
        return Call(method, self.context.of(caller), arguments)

    def encode_result(self, request_id: RequestId | _NoId, result: Any, name: str = "") -> bytes:
        """One answer object of the method of that name; replaced by an error if it is too large."""
        value = {"jsonrpc": "2.0", "id": request_id, "result": result}
        try:
            answer = _encode(value)
        except RecursionError:
            answer = deep_json.encode(value)
        limit = self.context.limits.answer_size_max_bytes
        if len(answer) > limit:
            too_large = LimitExceeded(f"answer of {len(answer)} bytes; the limit is {limit}")
            return self.encode_error(request_id, too_large, name)
        return answer

    def encode_error(self, request_id: RequestId | _NoId, error: ZvmdError, name: str = "") -> bytes:
        """One error object; ``name`` is the method's name, if known."""
        shown_id = None if isinstance(request_id, _NoId) else request_id
        method = known_method(name)
        shown = error_object(error, only_revert_data=method is not None and method.takes_transaction)
        return _encode({"jsonrpc": "2.0", "id": shown_id, "error": shown})

    def join(self, body: Body, answers: list[bytes]) -> bytes | None:
        """The answer of a whole body; None if it had only notifications."""
        if not answers:
            return None
        if not body.is_batch:
            return answers[0]
        return b"[" + b",".join(answers) + b"]"


def is_small(result: Any) -> bool:
    """Whether a result is encoded in no time: some values of JSON and a few kilobytes of text in all.

    >>> is_small({"hash": "0x12", "logs": [1, None]}), is_small(["0x12"] * 1000), is_small("0x" + "00" * 10_000)
    (True, False, False)
    """
    left, room = [result], SMALL_VALUES
    while left:
        value = left.pop()
        if isinstance(value, str):
            room -= len(value) // SMALL_TEXT
        elif isinstance(value, (dict, list, tuple)) and len(value) <= room:
            left.extend(value.values() if isinstance(value, dict) else value)
        elif not isinstance(value, (int, float, type(None))):
            return False
        room -= 1
        if room < 0:
            return False
    return True


def _request(value: Any, is_large: bool, caller: Caller) -> Request:
    """Check a request object's shape and its caller's rights; an invalid one becomes a `Request` with a refusal."""
    if not isinstance(value, dict):
        return Request(None, "", [], InvalidRequest("a request is an object"))
    request_id = value.get("id", NO_ID)
    if isinstance(request_id, bool) or not isinstance(request_id, (str, int, float, _NoId, type(None))):
        return Request(None, "", [], InvalidRequest("an id is a string, a number or null"))
    name, params = value.get("method"), value.get("params")
    if value.get("jsonrpc") != "2.0":
        return Request(_known(request_id), "", [], InvalidRequest('"jsonrpc" must be "2.0"'))
    if not isinstance(name, str):
        return Request(_known(request_id), "", [], InvalidRequest('"method" must be a string'))
    if params is not None and not isinstance(params, (list, dict)):
        return Request(_known(request_id), name, [], InvalidRequest('"params" must be an array or an object'))
    arguments = params if params is not None else []
    return Request(request_id, name, arguments, _not_permitted(name, caller.rights), is_large, caller)


def _not_permitted(name: str, rights: Rights) -> ZvmdError | None:
    """Why this caller may not call the method; None if it may. A method that does not exist gets the usual error."""
    if rights.allow(name):
        return None
    try:
        find_method(name)
        rights.check(name)
    except ZvmdError as refusal:
        return refusal
    raise AssertionError(name)


def _known(request_id: RequestId | _NoId) -> RequestId:
    # An invalid request is answered even without an id (JSON-RPC 2.0, section 5.1).
    return None if isinstance(request_id, _NoId) else request_id
