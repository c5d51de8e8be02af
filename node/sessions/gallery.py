"""Templates: those that come with the node, read once, and the users' own, stored in the log."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import cache

import msgspec

from debugger.errors import InvalidTemplate, SessionLimitReached, SessionNotFound
from debugger.limits import TEMPLATES
from debugger.slices import Slices
from debugger.templates import Template, check_template, parse_template
from node import resources
from storage.sessions.records import MAX_TEMPLATE
from storage.sessions.templates import TemplateShelf
from vm.machine import Machine

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,58}[a-z0-9])?")

KeepTemplate = Callable[[str, bytes | None], Awaitable[object]]
"""Returns once a template or its removal is durable and on the shelf."""


@cache
def _shipped() -> dict[str, Template]:
    files = sorted((resources.path("config") / "templates").glob("*.toml"))
    found = [parse_template(path.read_text(encoding="utf-8")) for path in files]
    return {template.name: template for template in found}


class Gallery:
    """All templates by name."""

    def __init__(self, shelf: TemplateShelf, keep: KeepTemplate) -> None:
        self._shelf = shelf
        self._keep = keep

    def templates(self) -> list[Template]:
        """All, by name."""
        return [self.template(name) for name in sorted({*_shipped(), *self._shelf})]

    def template(self, name: str) -> Template:
        """The template of a name. Raises `SessionNotFound`."""
        content = self._shelf.get(name)
        if content is not None:
            return msgspec.msgpack.decode(content, type=Template)
        found = _shipped().get(name)
        if found is None:
            raise SessionNotFound(f"no template {name[:60]!r}; there are {', '.join((*_shipped(), *self._shelf))}")
        return found

    @property
    def own(self) -> int:
        """Number of templates that users have saved."""
        return len(self._shelf)

    def is_own(self, name: str) -> bool:
        """Whether a user saved it."""
        return self._shelf.get(name) is not None

    def checked(self, text: str, machine: Machine) -> Slices[Template]:
        """Parse TOML text and run the template. Raises `InvalidTemplate` if it does not end as expected."""
        template = parse_template(text)
        differences = yield from check_template(template, machine)
        if differences:
            raise InvalidTemplate("; ".join(differences)[:300])
        return template

    async def save(self, template: Template) -> None:
        """Save a user's template, replacing one with the same name. Raises `InvalidTemplate`, `SessionLimitReached`."""
        if not _NAME.fullmatch(template.name):
            raise InvalidTemplate("a template's name has 1 to 60 lower-case letters, digits and inner dashes")
        if template.name in _shipped():
            raise InvalidTemplate(f"{template.name!r} comes with the node; choose another name")
        content = msgspec.msgpack.encode(template)
        if len(content) > MAX_TEMPLATE:
            raise InvalidTemplate(f"a template takes at most {MAX_TEMPLATE} bytes")
        if not self.is_own(template.name) and len(self._shelf) >= TEMPLATES:
            raise SessionLimitReached(f"at most {TEMPLATES} templates are kept")
        await self._keep(template.name, content)

    async def remove(self, name: str) -> None:
        """Remove a user's template. Raises `SessionNotFound`, `InvalidTemplate` for one that comes with the node."""
        if not self.is_own(name):
            self.template(name)
            raise InvalidTemplate(f"{name!r} comes with the node and cannot be removed")
        await self._keep(name, None)
