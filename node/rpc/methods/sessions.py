"""``zvmd_session_...`` and the eight original operations: the rows of `node.sessions.commands` as RPC methods."""

from __future__ import annotations

import inspect
from typing import Any

from node.rpc import params
from node.rpc.registry import Access, Method, Parameter, Parser, Scope, add, find_method
from node.sessions.commands import BY_METHOD, PREFIX, REQUIRED, Argument, ArgumentKind, Command
from node.sessions.rights import Right, SessionRef

_PARSERS: dict[ArgumentKind, Parser] = {
    ArgumentKind.SESSION: params.session_ref,
    ArgumentKind.NUMBER: params.loose_int,
    ArgumentKind.TEXT: params.text,
    ArgumentKind.FLAG: params.boolean,
    ArgumentKind.OBJECT: params.json_object,
    ArgumentKind.DATA: params.data,
    ArgumentKind.ANY: lambda value: value,
}


def _parser(argument: Argument, right: Right) -> Parser:
    parse, most = _PARSERS[argument.kind], argument.most
    if argument.kind is ArgumentKind.SESSION and right is Right.OWN:
        return params.owned_session
    return parse if most is None else lambda value: min(parse(value), most)


def _parameter(argument: Argument, right: Right) -> Parameter:
    default = None if argument.default is REQUIRED else argument.default
    names_session = argument.kind is ArgumentKind.SESSION
    return Parameter(
        argument.name, _parser(argument, right), argument.is_required, default, right if names_session else None
    )


def _method(name: str, command: Command) -> Method:
    parameters = tuple(_parameter(argument, command.right) for argument in command.arguments)
    rights = tuple((at, command.right) for at, found in enumerate(parameters) if found.right is not None)
    is_coroutine = inspect.iscoroutinefunction(command.run)
    return Method(
        name,
        command.run,
        parameters,
        is_coroutine,
        inline=False,
        brief=False,
        overlaps=False,
        session_rights=rights,
        access=Access.OWNER,
        scope=Scope.DEBUG,
        development=False,
        summary=command.help,
    )


for _name, _command in BY_METHOD.items():
    add(_method(_name, _command))


def watch_params(given: object) -> tuple[SessionRef, int | None]:
    """Reference and cursor of a call to ``zvmd_session_watch`` where events are pushed. Raises `InvalidParams`."""
    values: Any = given if isinstance(given, (list, dict)) else [given]
    ref, cursor = find_method(PREFIX + "watch").arguments(values)
    return ref, cursor
