"""``docs/methods.md`` from the registered methods: ``python -m tests.house.method_table > docs/methods.md``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from node.rpc.methods import load_methods
from node.rpc.registry import Access, Method, find_method, method_names

HEAD = """# JSON-RPC methods

Made from the code by `python -m tests.house.method_table > docs/methods.md`. Optional parameters have a `?`; they can
also be given by name. Methods marked *owner* are for callers on this machine and for callers who send a token
([who may connect](design/0017-who-may-connect.md)). Those marked *dev* change the chain as no transaction could
([development calls](development-calls.md)). The scope is what a token needs for the method.

| method | parameters | | scope | answer |
|---|---|---|---|---|
"""


def rows() -> list[str]:
    """A row for each handler and each kind of caller."""
    load_methods()
    spellings: dict[tuple[Any, ...], list[Method]] = {}
    for method in map(find_method, method_names()):
        spellings.setdefault((_origin(method), method.access, method.scope, method.development), []).append(method)
    return sorted(map(_row, spellings.values()), key=str.lower)


def _origin(method: Method) -> Callable[..., Any]:
    """The function as it was written: spellings of a development call have wrappers of their own around it."""
    return getattr(method.handler, "__wrapped__", method.handler)  # type: ignore[no-any-return]


def _row(spellings: list[Method]) -> str:
    method = spellings[0]
    names = ", ".join(f"`{name}`" for name in sorted(spelling.name for spelling in spellings))
    parameters = ", ".join(p.name + ("" if p.required else "?") for p in method.parameters)
    marks = ["dev"] * method.development + ["owner"] * (method.access is Access.OWNER)
    shown = parameters and f"`{parameters}`"
    summary = method.summary.replace("``", "`").replace("|", "\\|")
    return f"| {names} | {shown} | {', '.join(marks)} | {method.scope.value} | {summary} |"


def page() -> str:
    """The whole page."""
    return HEAD + "\n".join(rows()) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
