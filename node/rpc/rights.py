"""Which methods a caller may call: those of its scopes, or those open to everybody (`node.rpc.registry`).

Who gets which is decided where peers come in (`node.doors`). It is enforced where a request is decoded,
`Dispatcher.decode`: for single calls, batches and subscriptions alike.
"""

from __future__ import annotations

from node.rpc.errors import MissingScope, NotPermitted
from node.rpc.registry import Access, Scope, access_of, scope_of


class Rights:
    """What one caller may call. Immutable."""

    __slots__ = ("everything", "scopes", "standard")

    def __init__(self, *scopes: Scope, standard: bool = False) -> None:
        """``standard``: what is open to everybody, besides the scopes."""
        self.scopes = frozenset(scopes)
        self.standard = standard
        self.everything = len(self.scopes) == len(Scope)
        """Whether they are all there are."""

    def __repr__(self) -> str:
        names = [scope.value for scope in Scope if scope in self.scopes]
        return f"Rights({', '.join(names + ['standard'] * self.standard)})"

    def has(self, scope: Scope) -> bool:
        """Whether the caller has a scope. A guest has none."""
        return self.everything or scope in self.scopes

    def allow(self, method: str) -> bool:
        """Whether a method of that name may be called."""
        if self.everything or scope_of(method) in self.scopes:
            return True
        return self.standard and access_of(method) is Access.STANDARD

    def check(self, method: str) -> None:
        """Raises `NotPermitted`, for somebody with a token `MissingScope`."""
        if self.allow(method):
            return
        if not self.scopes:
            raise NotPermitted(f"{method[:100]} may not be called from here without the node's token")
        self.need(scope_of(method), method[:100])

    def need(self, scope: Scope, what: str) -> None:
        """Raises `MissingScope`; ``what`` is what was asked for."""
        if not self.has(scope):
            raise MissingScope(f"{what} needs the scope {scope.value}, which this token does not have")


EVERYTHING = Rights(*Scope)
STANDARD = Rights(standard=True)
NOTHING = Rights()
