"""``@method("eth_getBalance")`` collects typed handlers: all there is to say of a method is said where it is defined.

- The annotations of the parameters tell how they are parsed.
- The first line of the docstring is the summary in ``docs/methods.md``.
- A plain function is a read and runs on a reader thread; a coroutine function runs on the event loop.
- ``inline=True``: a read that is no more than an attribute access; it runs where the request arrived.
- ``brief=True``: a read that usually takes less than a hop to a thread; the event loop tries it (`node.rpc.brief`).
- ``overlaps=True``: a coroutine that may run beside others of the same batch.
- ``scope`` says which callers with a token may call it, ``access`` whether everybody else may, and ``development`` that
  it changes the chain as no transaction could. All follow from the namespace unless they are given.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import reduce
from operator import or_
from typing import Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

from node.api.errors import InvalidParams
from node.rpc.elsewhere import instead_of
from node.rpc.errors import MethodNotFound
from node.rpc.params import PARSERS
from node.sessions.rights import Right

Handler = Callable[..., Any]
HandlerT = TypeVar("HandlerT", bound=Handler)
Parser = Callable[[Any], Any]


class Access(Enum):
    """Whether a method may be called from elsewhere without a token. Which callers are which, `node.doors` decides."""

    STANDARD = "everybody the node answers"
    OWNER = "this machine, or who has a token with the method's scope"


class Scope(Enum):
    """What a token permits. None includes another."""

    READ = "read"
    """Reading the chain, its state and its logs, calls that are only simulated, and the state of the node."""
    SEND = "send"
    """Sending transactions, and signing with the accounts whose keys the node holds."""
    DEBUG = "debug"
    """Tracing, and debug sessions."""
    DEVELOP = "develop"
    """Changing the chain as no transaction could, where the chain permits that at all."""
    ADMIN = "admin"
    """What is for the node's owner: tokens, and every method that no other scope has."""


STANDARD_NAMESPACES: Final = frozenset(("eth", "net", "web3", "anvil", "hardhat", "evm", "txpool", "trace"))
"""What other development nodes answer to every web page. Methods of any other namespace are the owner's."""
DEVELOPMENT_NAMESPACES: Final = frozenset(("anvil", "hardhat", "evm", "tenderly"))
SCOPES: Final = {
    "eth": Scope.READ,
    "net": Scope.READ,
    "web3": Scope.READ,
    "rpc": Scope.READ,
    "txpool": Scope.READ,
    "debug": Scope.DEBUG,
    "trace": Scope.DEBUG,
    "zvmd_session": Scope.DEBUG,
} | dict.fromkeys(DEVELOPMENT_NAMESPACES, Scope.DEVELOP)
"""By namespace. Methods of any other, also of ``zvmd``, are `Scope.ADMIN` unless their decorators say otherwise."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One positional parameter."""

    name: str
    parse: Parser
    required: bool
    default: Any
    right: Right | None
    """The right needed, for parameters that name a session."""


@dataclass(frozen=True, slots=True)
class Method:
    """A callable method and how to read its parameters."""

    name: str
    handler: Handler
    parameters: tuple[Parameter, ...]
    is_coroutine: bool
    inline: bool
    brief: bool
    overlaps: bool
    session_rights: tuple[tuple[int, Right], ...]
    """Positions of the parameters that name a session, and what the caller must be permitted there."""
    access: Access
    scope: Scope
    development: bool
    """It changes the chain, or what it is sealed with, as no transaction could."""
    summary: str
    """A line for ``docs/methods.md``."""

    def arguments(self, params: Sequence[Any] | dict[str, Any]) -> list[Any]:
        """Typed arguments of JSON ``params``. Raises `InvalidParams`."""
        values = self._by_name(params) if isinstance(params, dict) else params
        if len(values) > len(self.parameters):
            raise InvalidParams(f"{self.name} takes at most {len(self.parameters)} parameters, got {len(values)}")
        result: list[Any] = []
        for position, parameter in enumerate(self.parameters):
            value = values[position] if position < len(values) else None
            if value is None:
                if parameter.required:
                    raise InvalidParams(f"{self.name}: missing parameter {position}: {parameter.name}")
                result.append(parameter.default)
                continue
            try:
                result.append(parameter.parse(value))
            except InvalidParams as error:
                raise InvalidParams(f"{self.name}: parameter {position} ({parameter.name}): {error}") from None
        return result

    def _by_name(self, params: dict[str, Any]) -> list[Any]:
        names = [parameter.name for parameter in self.parameters]
        for key in params:
            if key not in names:
                raise InvalidParams(f"{self.name}: unknown parameter {key[:60]!r}; it takes {names}")
        return [params.get(name) for name in names]


_METHODS: dict[str, Method] = {}
_NEAR: dict[str, str] = {}
"""By spelling with at most one letter left out: the name meant."""
NEAR_CHARACTERS_MAX = 64
"""Longer names are not compared with others: none is as long."""


def method(
    *names: str,
    inline: bool = False,
    brief: bool = False,
    overlaps: bool = False,
    access: Access | None = None,
    scope: Scope | None = None,
    development: bool | None = None,
) -> Callable[[HandlerT], HandlerT]:
    """Register the decorated handler under each of the names (spellings of other nodes included)."""

    def register(handler: HandlerT) -> HandlerT:
        hints = get_type_hints(handler, include_extras=True)
        parameters = tuple(
            _parameter(parameter, hints[parameter.name])
            for parameter in list(inspect.signature(handler).parameters.values())[1:]
        )
        coroutine = inspect.iscoroutinefunction(handler)
        for name in names:
            namespace = name.partition("_")[0]
            is_development = namespace in DEVELOPMENT_NAMESPACES if development is None else development
            add(
                Method(
                    name,
                    handler,
                    parameters,
                    coroutine,
                    inline,
                    brief,
                    overlaps,
                    session_rights=(),
                    access=access or _usual_access(name),
                    scope=scope or (Scope.DEVELOP if is_development else _usual_scope(name)),
                    development=is_development,
                    summary=(inspect.getdoc(handler) or "").partition("\n")[0],
                )
            )
        return handler

    return register


def add(added: Method) -> None:
    """Register a method; of debug sessions they come from a table (`node.sessions.commands`)."""
    assert added.name not in _METHODS, f"{added.name} is registered twice"
    _METHODS[added.name] = added
    for spelling in _spellings(added.name):
        _NEAR.setdefault(spelling, added.name)


def _usual_access(name: str) -> Access:
    namespace, underscore, _ = name.partition("_")
    return Access.STANDARD if underscore and namespace in STANDARD_NAMESPACES else Access.OWNER


def _usual_scope(name: str) -> Scope:
    namespace, _, rest = name.partition("_")
    if namespace == "zvmd" and rest.startswith("session_"):
        namespace = "zvmd_session"
    return SCOPES.get(namespace, Scope.ADMIN)


def scope_of(name: str) -> Scope:
    """The scope that a token needs for a method. Of one that is not registered the namespace decides."""
    found = _METHODS.get(name)
    return _usual_scope(name) if found is None else found.scope


def access_of(name: str) -> Access:
    """Who may call a method. Of one that is not registered, such as ``eth_subscribe``, the namespace decides."""
    found = _METHODS.get(name)
    return _usual_access(name) if found is None else found.access


def _parameter(parameter: inspect.Parameter, hint: Any) -> Parameter:
    if hint not in PARSERS and get_origin(hint) in (Union, type(int | None)):
        hint = reduce(or_, [option for option in get_args(hint) if option is not type(None)])
    required = parameter.default is inspect.Parameter.empty
    default = None if required else parameter.default
    return Parameter(_camel(parameter.name), PARSERS[hint], required, default, None)


def _camel(name: str) -> str:
    first, *rest = name.rstrip("_").split("_")
    return first + "".join(word.capitalize() for word in rest)


def find_method(name: str) -> Method:
    """The method of that name. Raises `MethodNotFound` with what to use instead, or a name spelt almost the same."""
    found = _METHODS.get(name)
    if found is None:
        near = nearest(name)
        advice = instead_of(name[:100]) or (f"did you mean {near!r}?" if near else "")
        raise MethodNotFound("; ".join(filter(None, (f"no method {name[:100]!r}", advice))))
    return found


def known_method(name: str) -> Method | None:
    """The method of that name, if there is one."""
    return _METHODS.get(name)


def nearest(name: str) -> str:
    """The method whose name differs in case, underscores or one letter (two swapped ones too); empty if none does.

    A look-up for each letter, so that guessing costs no more than parsing the request did.

    >>> nearest("eth_chain_ID"), nearest("eth_something")
    ('eth_chainId', '')
    """
    if len(name) > NEAR_CHARACTERS_MAX:
        return ""
    return next((_NEAR[spelling] for spelling in _spellings(name) if spelling in _NEAR), "")


def _spellings(name: str) -> list[str]:
    plain = name.lower().replace("_", "")
    return [plain, *(plain[:at] + plain[at + 1 :] for at in range(len(plain)))]


def method_names() -> list[str]:
    """Every registered name, sorted."""
    return sorted(_METHODS)
