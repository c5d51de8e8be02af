"""``zvmd_session_``: searching and pinning sessions; the gallery of templates and users' own templates."""

from __future__ import annotations

from typing import Any

import msgspec

from debugger.errors import InvalidProgram, InvalidTemplate, SessionError
from debugger.limits import SESSIONS
from debugger.templates import Template, save_template
from debugger.words import data_of
from node.rpc.context import Context
from node.rpc.params import JsonObject, ToOwn
from node.rpc.registry import method
from storage.index.sessions import SessionFilter, SessionRow

Json = dict[str, Any]
S = "zvmd_session_"


class Search(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Criteria for sessions; one that is not given matches all. Times are Unix seconds; bounds are inclusive."""

    name: str | None = None
    """A substring of the name."""
    tag: str | None = None
    fork: str | None = None
    code_hash: str | None = None
    contract: str | None = None
    transaction: str | None = None
    halt: str | None = None
    """As in a state: stop, return, revert, out_of_gas ...; ``none`` for a run that has not ended."""
    pinned: bool | None = None
    created_from: int | None = None
    created_to: int | None = None
    used_from: int | None = None
    used_to: int | None = None
    steps_from: int | None = None
    steps_to: int | None = None
    bytes_from: int | None = None
    bytes_to: int | None = None
    limit: int = SESSIONS
    cursor: int | None = None
    """Id of the last session of the previous page."""

    def filter(self) -> SessionFilter:
        """The criteria as the index takes them. Raises `InvalidProgram`."""
        numbers = (self.limit, *(getattr(self, f"{what}_{end}") for what in _RANGES for end in ("from", "to")))
        if any(number is not None and not 0 <= number < 2**63 for number in (*numbers, self.cursor)):
            raise InvalidProgram("numbers of a search are from 0 to 2**63 - 1")
        return SessionFilter(
            self.name,
            self.tag,
            self.fork,
            _data(self.code_hash, "codeHash", 32),
            _data(self.contract, "contract", 20),
            _data(self.transaction, "transaction", 32),
            "" if self.halt == "none" else self.halt,
            self.pinned,
            *((getattr(self, f"{what}_from"), getattr(self, f"{what}_to")) for what in _RANGES),
        )


_RANGES = ("created", "used", "steps", "bytes")


def _data(text: str | None, what: str, size: int) -> bytes | None:
    return None if text is None else data_of(text, what, size, size)


def _hex(data: bytes) -> str | None:
    return "0x" + data.hex() if data else None


def shown(row: SessionRow) -> Json:
    """A line of the list."""
    return {
        "id": row.id,
        "name": row.name,
        "tags": list(row.tags),
        "fork": row.fork,
        "position": row.steps,
        "halt": row.halt or None,
        "codeHash": _hex(row.code_hash),
        "contract": _hex(row.contract),
        "transaction": _hex(row.transaction),
        "created": row.created,
        "used": row.used,
        "bytes": row.bytes,
        "pinned": row.pinned,
    }


@method(S + "list")
def list_(context: Context, search: JsonObject | None = None) -> list[Json]:
    """Sessions that match ``{name?, tag?, contract?, halt?, usedFrom? ..., limit?, cursor?}``, the newest first.

    A page shorter than ``limit`` is the last; ``cursor`` is the id of the last line of the page before.
    """
    chosen = _convert(search or {}, Search, InvalidProgram)
    found = context.need_sessions().keeper.search.find(chosen.filter(), min(chosen.limit, SESSIONS), chosen.cursor)
    return [shown(row) for row in found.rows]


@method(S + "pin")
async def pin(context: Context, id_: ToOwn, pinned: bool = True) -> bool:
    """Pin a session, so that it never expires; with false, unpin it."""
    await context.need_sessions().pin(id_, pinned)
    return pinned


@method(S + "templates")
def templates(context: Context) -> list[Json]:
    """All templates of the gallery and the users' own; ``own`` marks the latter."""
    gallery = context.need_sessions().gallery
    return [_shown(template, own=gallery.is_own(template.name)) for template in gallery.templates()]


@method(S + "template_list", S + "templateList")
def template_list(context: Context) -> list[Json]:
    """Name, title and tags of every template."""
    gallery = context.need_sessions().gallery
    return [
        {"name": found.name, "title": found.title, "tags": found.tags, "own": gallery.is_own(found.name)}
        for found in gallery.templates()
    ]


@method(S + "template_show", S + "templateShow")
def template_show(context: Context, name: str) -> Json:
    """A template: its program, its explanation and its expected end."""
    gallery = context.need_sessions().gallery
    return _shown(gallery.template(name), own=gallery.is_own(name))


class _Saving(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    toml: str | None = None
    session: int | None = None
    name: str = ""
    title: str = ""
    explanation: str = ""


@method(S + "template_save", S + "templateSave")
async def template_save(context: Context, template: JsonObject) -> Json:
    """Save a template: ``{toml}``, or ``{session, name, title?, explanation?}`` from a bytecode session.

    The program is run once: a TOML text must end as it says; the end of a session becomes the expected one.
    """
    service = context.need_sessions()
    wanted = _convert(template, _Saving, InvalidTemplate)
    if (wanted.toml is None) == (wanted.session is None):
        raise InvalidTemplate("give either toml or session")
    if wanted.toml is not None:
        text = wanted.toml
        found = await service.on_thread(lambda: service.gallery.checked(text, service.ground.machine))
    else:
        assert wanted.session is not None
        title = wanted.title or wanted.name
        found = await service.read(
            lambda session: save_template(session, wanted.name, title, wanted.explanation), wanted.session
        )
    await service.gallery.save(found)
    return _shown(found, own=True)


@method(S + "template_remove", S + "templateRemove")
async def template_remove(context: Context, name: str) -> bool:
    """Remove a user's own template."""
    await context.need_sessions().gallery.remove(name)
    return True


@method(S + "from_template", S + "fromTemplate")
async def from_template(context: Context, name: str) -> Json:
    """Create a session with a template's program."""
    service = context.need_sessions()
    template = service.gallery.template(name)
    return {"id": await service.create_plain(template.program(), template.title)}


def _shown(template: Template, *, own: bool) -> Json:
    return {**msgspec.to_builtins(template, str_keys=True), "own": own}


def _convert(value: object, kind: type[Any], error: type[SessionError]) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as failure:
        raise error(str(failure)[:300]) from None
