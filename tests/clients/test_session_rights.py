"""Who may do what with which session: every method of the registry, every parameter that names a session, every right.

A method that is in none of the lists below fails the first test, so that a new one cannot be forgotten.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any, NamedTuple

import pytest

import zvmd
from node.rpc.methods import load_methods
from node.rpc.registry import find_method, method_names
from tests.daemon import Daemon
from tests.rpc import Rpc, RpcFailed
from zvmd.errors import ZvmdError

load_methods()
NAMING = frozenset(("id", "left", "right", "saved", "sessionId"))
"""How methods call parameters that name a session."""
S = "zvmd_session_"
LOOKS = {
    "state", "breakpoint_list", "branches", "export", "trace", "call_tree", "state_diff", "compare", "diff", "code",
    "timeline", "evaluate", "watch",
}  # fmt: skip
DRIVES = {
    "step", "step_back", "step_over", "step_out", "step_over_back", "step_out_back", "seek", "run", "reverse_run",
    "pause", "reset", "breakpoint_add", "breakpoint_remove", "edit", "checkout", "rename", "drive", "release",
}  # fmt: skip
OWNS = {"load", "save", "restore", "close", "share", "shares", "unshare", "pin"}
ORIGINAL = {
    "zvmd_close_session", "zvmd_closeSession", "zvmd_set_active_session", "zvmd_setActiveSession",
    "zvmd_load_bytecode", "zvmd_loadBytecodeForSession", "zvmd_reset_evm", "zvmd_resetSession", "zvmd_step_evm",
    "zvmd_stepSession", "zvmd_toggle_run_pause", "zvmd_toggleRunPauseSession", "zvmd_get_evm_state",
    "zvmd_getSessionState",
}  # fmt: skip
"""The owner's."""
NAMELESS = {
    "create", "import", "list", "templates", "template_list", "template_show", "template_save", "template_remove",
    "from_template",
}  # fmt: skip
"""The owner's: they name no session, or in an object a number only."""
MARK = "deadbeefcafe"
CODE = "0x65" + MARK + "5f52" + "00"
"""Puts the mark into memory."""
RIGHTS = ("wire.guest", "session.owner", "session.watch_only", "session.token", "session.token_expired", "rpc.internal")
"""Refusals for want of rights, and what no call may be answered."""
FILL: dict[str, Any] = {
    "n": 1, "step": 0, "limit": 1, "breakpoint": {"kind": "pc", "pc": 0}, "branch": 0, "expression": "pc", "share": 1,
    "code": "0x00", "bytecodeHex": "0x00", "edit": {"kind": "stack", "index": 0, "value": "0x1"}, "options": {},
}  # fmt: skip
"""Values of other parameters, so that a call is refused for the session or not at all."""


def snake(name: str) -> str:
    """``zvmd_session_stepBack`` as ``step_back``."""
    return "".join("_" + c.lower() if c.isupper() else c for c in name.removeprefix(S))


def naming_parameters(name: str) -> list[int]:
    return [at for at, parameter in enumerate(find_method(name).parameters) if parameter.name in NAMING]


NAMING_METHODS = [
    name for name in method_names() if naming_parameters(name) and (name.startswith(S) or name in ORIGINAL)
]


def test_every_method_is_in_a_list() -> None:
    for name in method_names():
        if name.startswith(S):
            kinds = [snake(name) in names for names in (LOOKS, DRIVES, OWNS, NAMELESS)]
            assert kinds.count(True) == 1, name
            assert bool(naming_parameters(name)) != (snake(name) in NAMELESS), name
    words = ("ession", "_evm", "bytecode", "toggle")
    sessions = {name for name in method_names() if any(word in name for word in words)}
    assert {name for name in sessions if not name.startswith(S)} == ORIGINAL | {
        "zvmd_createSession", "zvmd_create_session"
    }  # fmt: skip
    for name in NAMING_METHODS:
        for at, parameter in enumerate(find_method(name).parameters):
            assert (parameter.right is not None) == (at in naming_parameters(name)), (name, parameter.name)


def test_no_read_takes_a_token() -> None:
    """``zvmd_read`` runs reads without the dispatcher, which checks the rights."""
    for name in NAMING_METHODS:
        assert find_method(name).is_coroutine or name in ORIGINAL, name


class Scene(NamedTuple):
    """Two sessions, and connections that know one token each."""

    rpc: Rpc
    mine: int
    theirs: int
    tokens: dict[str, str]
    """Of ``mine``: watch, drive, expired, revoked, wrong; of the other: other."""
    guests: dict[str, zvmd.Node]
    """Watch and drive, opened while their tokens counted; expired and revoked, whose tokens do not any more."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    daemon = Daemon(tmp_path_factory.mktemp("rights") / "data")
    with ExitStack() as stack:
        stack.callback(daemon.close)
        daemon.start()
        rpc = daemon.rpc()
        mine = rpc.call(S + "create", {"code": "0x5f5f5f5f00", "gas": 100_000})["id"]
        theirs = rpc.call(S + "create", {"code": CODE, "gas": 100_000})["id"]
        rpc.call(S + "run", theirs)
        guests: dict[str, zvmd.Node] = {}

        def enter(name: str, role: str, *seconds: int) -> Any:
            """Share, and come in with the token."""
            share = rpc.call(S + "share", mine, role, *seconds)
            url = f"quic://127.0.0.1:{daemon.quic_port}"
            guest = stack.enter_context(zvmd.Node(url, data_dir=daemon.data_dir, token=share["token"]))
            guest.rpc(S + "branches", share["token"])
            guests[name] = guest
            return share

        shares = {role: enter(role, role) for role in ("watch", "drive")} | {"revoked": enter("revoked", "drive")}
        for seconds in (1, 8, 64):  # a busy machine may need longer to come in than a token counts
            with suppress(zvmd.ZvmdError):
                shares["expired"] = enter("expired", "drive", seconds)
                break
        tokens = {name: share["token"] for name, share in shares.items()}
        tokens["wrong"] = tokens["watch"][:-4] + ("0000" if tokens["watch"][-4:] != "0000" else "1111")
        tokens["other"] = rpc.call(S + "share", theirs, "drive")["token"]
        rpc.call(S + "unshare", mine, shares["revoked"]["id"])
        while time.time() < shares["expired"]["expires"]:
            time.sleep(0.05)
        yield Scene(rpc, mine, theirs, tokens, guests)


def arguments(name: str, named: dict[int, Any]) -> list[Any]:
    """Parameters with those that name sessions given, and the required others filled."""
    fill = {**FILL, "breakpoint": 1} if "remove" in name.lower() else FILL
    return [
        named.get(at, fill.get(parameter.name) if parameter.required else None)
        for at, parameter in enumerate(find_method(name).parameters)
    ]


def by_guest(guest: zvmd.Node, name: str, params: list[Any]) -> tuple[str, str]:
    """The slug of a refusal for want of rights, empty for any other answer; and the answer."""
    try:
        return "", repr(guest.rpc(name, *params))
    except ZvmdError as error:
        return (error.code if error.code in RIGHTS else ""), str(error)


def by_http(rpc: Rpc, name: str, params: list[Any]) -> str:
    try:
        rpc.call(name, *params)
    except RpcFailed as error:
        slug = error.data["code"] if isinstance(error.data, dict) and "code" in error.data else ""
        return slug if slug in RIGHTS else ""
    return ""


def wanted(name: str, role: str) -> str:
    """What a guest's own session named by its own token is answered."""
    if name in ORIGINAL or snake(name) in OWNS:
        return "wire.guest"
    if role in ("expired", "revoked"):
        return "session.token_expired" if role == "expired" else "session.token"
    return "session.watch_only" if role == "watch" and snake(name) in DRIVES else ""


@pytest.mark.parametrize("role", ["watch", "drive", "expired", "revoked"])
def test_a_guest_gets_at_its_own_session_by_its_own_token_only(scene: Scene, role: str) -> None:
    guest, token = scene.guests[role], scene.tokens[role]
    others = [scene.theirs, str(scene.theirs), hex(scene.theirs), scene.mine, scene.tokens["other"], 0, 10**9, "", [1]]
    for name in NAMING_METHODS:
        places = naming_parameters(name)
        named = dict.fromkeys(places, token)
        slug, _ = by_guest(guest, name, arguments(name, named))
        assert slug == wanted(name, role), name
        for place in places:
            for value in others:
                slug, answer = by_guest(guest, name, arguments(name, {**named, place: value}))
                assert slug == "wire.guest", (name, place, value, answer)
                assert MARK not in answer, (name, place, value)
            missing = {at: token for at in places if at != place}
            slug, answer = by_guest(guest, name, arguments(name, missing))
            assert slug == ("wire.guest" if find_method(name).parameters[place].required else wanted(name, role)), name
            assert MARK not in answer, (name, place)


def test_a_guest_gets_at_nothing_else(scene: Scene) -> None:
    guest, token = scene.guests["drive"], scene.tokens["drive"]
    for name in method_names():
        if name in NAMING_METHODS and name not in ORIGINAL and snake(name) not in OWNS:
            continue
        for params in ([], [token], [scene.mine], [{"session": scene.theirs, "name": "x"}]):
            slug, answer = by_guest(guest, name, params)
            assert slug == "wire.guest", name
            assert MARK not in answer, name
    with pytest.raises(ZvmdError, match=r"wire\.guest"):
        guest.rpc("no_such_method", token)


def test_tokens_over_http_allow_what_their_role_says(scene: Scene) -> None:
    """HTTP is the owner's door; a token there stands for its session all the same, and for no more."""
    for name in NAMING_METHODS:
        places = naming_parameters(name)
        is_own = name in ORIGINAL or snake(name) in OWNS
        for role, slug in (
            ("watch", "session.watch_only" if snake(name) in DRIVES else ""),
            ("drive", ""),
            ("wrong", "session.token"),
            ("revoked", "session.token"),
            ("expired", "session.token_expired"),
        ):
            for place in places:
                named = {**dict.fromkeys(places, scene.mine), place: scene.tokens[role]}
                got = by_http(scene.rpc, name, arguments(name, named))
                assert got == ("session.owner" if is_own else slug), (name, role, place)
    assert isinstance(scene.rpc.call(S + "state", scene.mine), dict)


def test_a_signature_is_the_owners(scene: Scene) -> None:
    guest, token = scene.guests["drive"], scene.tokens["drive"]
    assert by_guest(guest, S + "export", [token, None, True])[0] == "session.owner"
    assert by_http(scene.rpc, S + "export", [token, None, True]) == "session.owner"
    assert by_http(scene.rpc, S + "export", [scene.mine, None, True]) == ""


def test_the_owner_gets_at_everything(scene: Scene) -> None:
    """Last: it closes sessions."""
    assert MARK in repr(scene.rpc.call(S + "state", scene.theirs))
    for name in NAMING_METHODS:
        named = dict.fromkeys(naming_parameters(name), scene.mine)
        assert by_http(scene.rpc, name, arguments(name, named)) == "", name
