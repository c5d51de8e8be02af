"""Implements the session commands that are more than a function of the debugger (`node.sessions.commands`).

Each takes the host, then its row's arguments.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from chain.errors import ZvmdError
from debugger import moves
from debugger.breakpoints import Breakpoint
from debugger.diff import compare_slices
from debugger.edits import Edit
from debugger.errors import InvalidBreakpoint, InvalidEdit, InvalidProgram, InvalidTemplate, SessionNotFound
from debugger.hex import data_of
from debugger.limits import EXPORT_STEPS, SESSIONS
from debugger.program import Program
from debugger.session import Session
from debugger.sharing import export_slices, sign_file, signer_of
from debugger.slices import Slices, WantsPause, one_slice
from debugger.state import StateQuery
from debugger.state_diff import diff_state_slices
from debugger.templates import Template, save_template
from node.api.errors import InvalidParams
from node.sessions.base_state import NewSession
from node.sessions.commands import CommandHost
from node.sessions.errors import NoPush
from node.sessions.rights import Right, SessionRef
from node.sessions.sharing import TTL_SECONDS, Share, Sharing, control_released, control_taken, given, holder, revoked
from node.sessions.summary import Json, plain, summary
from storage.index.sessions import SessionFilter, SessionRow

T = TypeVar("T")
Object = dict[str, Any]


def _read(value: object, kind: type[T], error: type[ZvmdError]) -> T:
    """Convert a user's object to a structure. Raises ``error``; for an unknown field it lists the accepted ones."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as failure:
        reason = str(failure)[:300]
        is_unknown = reason.startswith("Object contains unknown field") and " - at " not in reason
        accepted = ", ".join(getattr(kind, "__struct_encode_fields__", ())) if is_unknown else ""
        raise error(f"{reason} (accepted: {accepted})" if accepted else reason) from None


# Creating and closing


async def create(host: CommandHost, program: Object) -> Json:
    service = host.need_sessions()
    new = await service.on_thread(lambda: service.bases.requested(program, host.block_named))
    return {"id": await service.create(new)}


async def import_(host: CommandHost, file: bytes) -> Json:
    number = await host.need_sessions().import_file(file)
    signer = signer_of(file)
    return {"id": number, "signedBy": None if signer is None else "0x" + signer.hex()}


async def export(host: CommandHost, ref: SessionRef, note: str | None, sign: bool) -> str:
    service = host.need_sessions()
    if sign:
        service.sharings.check(ref, Right.OWN)
    file = await service.look(lambda found, wants_pause: export_slices(found, note or ""), ref)  # noqa: ARG005
    return "0x" + (sign_file(file, host.need_signer()) if sign else file).hex()


def _load(session: Session, code: str) -> list[Any]:
    return session.load(msgspec.structs.replace(session.program, code=code, to=None, transaction=None))


async def load(host: CommandHost, ref: SessionRef, code: str) -> Json:
    return await host.need_sessions().move(ref, one_slice(_load), code, command="load")


async def save(host: CommandHost, session: int, name: str | None) -> Json:
    service = host.need_sessions()
    copied = await service.copy(session)
    if name is not None:
        await service.move(copied, one_slice(Session.rename), name, command="rename")
    return {"id": copied}


async def restore(host: CommandHost, session: int, saved: int) -> Json:
    service = host.need_sessions()
    await service.copy(saved, session)
    return await service.read(lambda found: summary(found, []), session)


async def close(host: CommandHost, session: int) -> bool:
    await host.need_sessions().close(session)
    return True


async def pin(host: CommandHost, session: int, pinned: bool) -> bool:
    await host.need_sessions().pin(session, pinned)
    return pinned


# Using


async def pause(host: CommandHost, ref: SessionRef) -> bool:
    host.need_sessions().pause(ref)
    return True


async def state(host: CommandHost, ref: SessionRef, query: Object | None) -> Json:
    wanted = _read(query or {}, StateQuery, InvalidProgram)
    answer: Json = await host.need_sessions().read(lambda found: plain(found.state(wanted)), ref)
    return answer


def branches_of(session: Session) -> list[Json]:
    """All branches, with ``current`` for the one the session is on."""
    return [{**plain(b), "current": b.id == session.branch} for _, b in sorted(session.branches.items())]


def breakpoints_of(session: Session) -> list[Json]:
    """All breakpoints, with ``holds`` for those that hold here."""
    holding = set(session.holding())
    return [{**plain(b), "id": b.id, "holds": b.id in holding} for b in session.breakpoints.values()]


async def breakpoint_add(host: CommandHost, ref: SessionRef, breakpoint_: Object) -> Json:
    point = _read(breakpoint_, Breakpoint, InvalidBreakpoint)
    work = one_slice(lambda found: plain(found.set_breakpoint(point)[0])["breakpoint"])
    answer: Json = await host.need_sessions().change(ref, work, command="set_breakpoint")
    return answer


async def breakpoint_remove(host: CommandHost, ref: SessionRef, number: int) -> bool:
    await host.need_sessions().move(ref, one_slice(Session.remove_breakpoint), number, command="remove_breakpoint")
    return True


async def edit(host: CommandHost, ref: SessionRef, edit: Object) -> Json:
    wanted = _read(edit, Edit, InvalidEdit)
    return await host.need_sessions().move(ref, one_slice(Session.edit), wanted, command="edit")


async def rename(host: CommandHost, ref: SessionRef, name: str | None, tags: object) -> bool:
    chosen = None if tags is None else _read(tags, tuple[str, ...], InvalidProgram)
    await host.need_sessions().move(ref, one_slice(Session.rename), name, chosen, command="rename")
    return True


class _CompareOptions(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    ignoring_gas: bool = False
    limit: int = EXPORT_STEPS


async def compare(host: CommandHost, left: SessionRef, right: SessionRef, options: Object | None) -> Json:
    chosen = _read(options or {}, _CompareOptions, InvalidProgram)
    limit = min(chosen.limit, EXPORT_STEPS)

    def look(one: Session, two: Session, wants_pause: WantsPause) -> Slices[Any]:
        return compare_slices(one, two, ignoring_gas=chosen.ignoring_gas, limit=limit, wants_pause=wants_pause)

    found: Json = plain(await host.need_sessions().look(look, left, right))
    return found


async def state_diff(
    host: CommandHost, ref: SessionRef, left_step: int | None, right_step: int | None, right: SessionRef | None
) -> Json:
    def look(one: Session, two: Session, wants_pause: WantsPause) -> Slices[Any]:  # noqa: ARG001
        steps = [found.step_index if step is None else step for found, step in ((one, left_step), (two, right_step))]
        return diff_state_slices(one, steps[0], two, steps[1])

    found: Json = plain(await host.need_sessions().look(look, ref, ref if right is None else right))
    return found


# Sharing


def _shown_share(share: Share, now: float) -> Json:
    """A share without its secret."""
    return {
        "id": share.id,
        "role": share.role,
        "name": share.name,
        "expires": share.expires,
        "isExpired": now >= share.expires,
    }


async def share(host: CommandHost, session: int, role: str, ttl: int | None, name: str) -> Json:
    service = host.need_sessions()
    now = service.sharings.now()
    made: list[tuple[Share, str]] = []

    def change(sharing: Sharing) -> Sharing:
        changed, added, token = given(sharing, session, role, TTL_SECONDS if ttl is None else ttl, name, now)
        made[:] = [(added, token)]
        return changed

    await service.share(session, change)
    found, token = made[0]
    return {**_shown_share(found, now), "token": token}


async def shares(host: CommandHost, session: int) -> Json:
    sharings = host.need_sessions().sharings
    now = sharings.now()
    sharing = sharings.of(session)
    return {"driver": holder(sharing, now), "shares": [_shown_share(found, now) for found in sharing.shares]}


async def unshare(host: CommandHost, session: int, number: int) -> bool:
    await host.need_sessions().share(session, lambda sharing: revoked(sharing, number))
    return True


class _DriveOptions(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    take_over: bool | None = False


async def drive(host: CommandHost, ref: SessionRef, options: Object | None) -> Json:
    take_over = _read(options or {}, _DriveOptions, InvalidParams).take_over is True
    return await _control(host, ref, "drive", lambda sharing, share, now: control_taken(sharing, share, now, take_over))


async def release(host: CommandHost, ref: SessionRef) -> Json:
    return await _control(host, ref, "release", control_released)


async def _control(host: CommandHost, ref: SessionRef, command: str, change: Any) -> Json:
    """Take or release control."""
    service = host.need_sessions()
    access = service.sharings.driver(ref)

    def changed(sharing: Sharing) -> Sharing:
        found: Sharing = change(sharing, access.share, service.sharings.now())
        return msgspec.structs.replace(found, changes=sharing.changes + 1)

    return {"driver": (await service.share(access.session, changed, command)).driver}


async def watch(host: CommandHost, ref: SessionRef, cursor: int | None) -> Any:
    host.need_sessions().sharings.enter(ref)
    raise NoPush("this transport cannot push events" + ("" if cursor is None else f" behind cursor {cursor}"))


# Finding


class _Search(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
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


def _shown_row(row: SessionRow) -> Json:
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


def list_sessions(host: CommandHost, search: Object | None) -> list[Json]:
    chosen = _read(search or {}, _Search, InvalidProgram)
    repository = host.need_sessions().repository
    found = repository.search.find(chosen.filter(), min(chosen.limit, SESSIONS), chosen.cursor)
    return [_shown_row(row) for row in found.rows]


# Templates


def _shown_template(template: Template, *, own: bool) -> Json:
    return {**plain(template), "own": own}


def templates(host: CommandHost) -> list[Json]:
    gallery = host.need_sessions().gallery
    return [_shown_template(template, own=gallery.is_own(template.name)) for template in gallery.templates()]


def template_list(host: CommandHost) -> list[Json]:
    gallery = host.need_sessions().gallery
    return [
        {"name": found.name, "title": found.title, "tags": found.tags, "own": gallery.is_own(found.name)}
        for found in gallery.templates()
    ]


def template_show(host: CommandHost, name: str) -> Json:
    gallery = host.need_sessions().gallery
    return _shown_template(gallery.template(name), own=gallery.is_own(name))


class _TemplateSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    toml: str | None = None
    session: int | None = None
    name: str = ""
    title: str = ""
    explanation: str = ""


async def template_save(host: CommandHost, template: Object) -> Json:
    service = host.need_sessions()
    wanted = _read(template, _TemplateSource, InvalidTemplate)
    if (wanted.toml is None) == (wanted.session is None):
        raise InvalidTemplate("give either toml or session")
    if wanted.toml is not None:
        found = await service.in_slices(service.gallery.checked(wanted.toml, service.bases.machine))
    else:
        assert wanted.session is not None
        title = wanted.title or wanted.name

        def work(session: Session, wants_pause: WantsPause) -> Slices[Template]:  # noqa: ARG001
            return save_template(session, wanted.name, title, wanted.explanation)

        found = await service.look(work, wanted.session)
    await service.gallery.save(found)
    return _shown_template(found, own=True)


async def template_remove(host: CommandHost, name: str) -> bool:
    await host.need_sessions().gallery.remove(name)
    return True


async def from_template(host: CommandHost, name: str) -> Json:
    service = host.need_sessions()
    template = service.gallery.template(name)
    return {"id": await service.create(NewSession(template.program(), name=template.title))}


# The eight original operations


async def create_empty(host: CommandHost) -> int:
    return await host.need_sessions().create(NewSession(Program(code="0x")))


async def close_session(host: CommandHost, session: int) -> bool:
    try:
        await host.need_sessions().close(session)
    except SessionNotFound:
        return False
    return True


async def set_active(host: CommandHost, session: int) -> bool:
    host.need_sessions().set_active(session)
    return True


async def whole_state(host: CommandHost, session: int) -> Json:
    return await state(host, session, None)


async def load_bytecode(host: CommandHost, session: int, code: str) -> Json:
    await load(host, session, code)
    return await whole_state(host, session)


async def reset_evm(host: CommandHost, session: int) -> Json:
    await host.need_sessions().move(session, one_slice(Session.reset), command="reset")
    return await whole_state(host, session)


async def step_evm(host: CommandHost, session: int) -> Json:
    await host.need_sessions().move(session, moves.step, command="step")
    return await whole_state(host, session)


async def toggle_run_pause(host: CommandHost, session: int) -> bool:
    return host.need_sessions().toggle_running(session)
