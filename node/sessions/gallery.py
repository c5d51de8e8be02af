"""The templates that come with the node, read once."""

from __future__ import annotations

from functools import cache

from debugger.errors import SessionNotFound
from debugger.templates import Template, parse_template
from node import resources


@cache
def _all() -> dict[str, Template]:
    files = sorted((resources.path("config") / "templates").glob("*.toml"))
    found = [parse_template(path.read_text(encoding="utf-8")) for path in files]
    return {template.name: template for template in found}


def templates() -> list[Template]:
    """All, by name."""
    return list(_all().values())


def template(name: str) -> Template:
    """The template of a name. Raises `SessionNotFound`."""
    found = _all().get(name)
    if found is None:
        raise SessionNotFound(f"no template {name[:60]!r}; there are {', '.join(_all())}")
    return found
