"""The terminal debugger as its user has it: keys in, screens out, on a real node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

import zvmd
from debugger.assembly import assemble
from node.tui.app import Debugger
from node.tui.commands import KEYS
from node.tui.pane import Pane
from node.tui.source import Connection, Line, ViewSource
from tests.conftest import Node
from tests.daemon import Daemon
from tests.terminal.screens import SIZE, check_screen, screen_of

LOOP = "0x" + assemble("PUSH 3 again: PUSH 1 SWAP1 SUB DUP1 PUSH @again JUMPI STOP").hex()
ENDLESS = "0x5b600056"
BIG = "0x" + assemble("PUSH 7 PUSH 0x01ffe0 MSTORE PUSH 0x020000 PUSH 0 RETURN").hex()
"""128 KiB of memory, a 7 at its end."""


class User:
    """Somebody at the keyboard."""

    def __init__(self, app: Debugger, pilot: Pilot[int], session: zvmd.AsyncSession) -> None:
        self.app, self.pilot, self.session = app, pilot, session

    async def press(self, *keys: str) -> None:
        """Press keys, one after the other, and wait until what they caused is on the screen."""
        for key in keys:
            await self.pilot.press(key)
        await self.settle()

    async def type(self, key: str, text: str) -> None:
        """Answer a key's prompt, pasting the text."""
        await self.pilot.press(key)
        self.app.query_one("#prompt", Input).insert_text_at_cursor(text)
        await self.pilot.press("enter")
        await self.settle()

    async def settle(self) -> None:
        """Until the node has answered everything."""
        app = self.app
        await self.pilot.pause()
        while app.view.is_busy or app._work or app._pages or (app.view.is_loaded and app.view.tree is None):
            await asyncio.sleep(0.005)
        await self.pilot.pause()

    @property
    def screen(self) -> str:
        """All words on the screen, however their lines are broken."""
        return " ".join(screen_of(self.app).split())

    @property
    def step(self) -> int:
        """Where the screen says it is."""
        return self.app.view.step

    def pane(self, name: str) -> Pane:
        """A pane."""
        return self.app.query_one(f"#{name}", Pane)


Story = Callable[[User], Awaitable[None]]


def connection_to(daemon: Daemon) -> Callable[[], Awaitable[Connection]]:
    async def connect() -> Connection:
        return await zvmd.connect(f"quic://127.0.0.1:{daemon.quic_port}", data_dir=daemon.data_dir)

    return connect


@asynccontextmanager
async def debugging(
    daemon: Daemon, program: dict[str, Any], size: tuple[int, int] = SIZE
) -> AsyncIterator[User]:
    line = Line(connection_to(daemon))
    try:
        if "template" in program:
            session = await zvmd.AsyncSession.from_template(line, program["template"])
        else:
            session = await zvmd.AsyncSession.create(line, **program)
        app = Debugger(ViewSource(session, line))
        async with app.run_test(size=size) as pilot:
            user = User(app, pilot, session)
            await user.settle()
            yield user
    finally:
        await line.close()


def play(node: Node, program: dict[str, Any], story: Story, size: tuple[int, int] = SIZE) -> None:
    """Let a user debug a new session of the shared node."""
    daemon = node.daemon
    if daemon is None:
        pytest.skip("an outside node has no sessions")

    async def playing() -> None:
        async with debugging(daemon, program, size) as user:
            await story(user)

    asyncio.run(playing())


def test_screens_of_a_token_transfer(node: Node) -> None:
    async def story(user: User) -> None:
        await check_screen(user.pilot, "start")
        await user.type("B", "slot_write")
        await user.press("r")
        await check_screen(user.pilot, "at_a_write")
        await user.press("G", "m")
        await check_screen(user.pilot, "end")

    play(node, {"template": "erc20-transfer"}, story)


def test_a_breakpoint_on_memory(node: Node) -> None:
    async def story(user: User) -> None:
        await user.type("B", "memory_write 0x40 64")
        await user.press("r")
        assert "memory_write 0x40 64" in user.screen
        assert user.step == 5

    play(node, {"code": "0x6001600052600160605200"}, story)


@pytest.mark.full
def test_screen_inside_a_call_and_of_its_caller(node: Node) -> None:
    async def story(user: User) -> None:
        await user.press("C", "j", "j")
        await check_screen(user.pilot, "in_a_call")
        await user.press("left_square_bracket")
        await check_screen(user.pilot, "calling_frame")
        await user.press("right_square_bracket")
        assert user.app.view.options.frame is None

    play(node, {"template": "calls"}, story)


def test_screen_of_a_revert_in_a_small_terminal(node: Node) -> None:
    async def story(user: User) -> None:
        await user.press("G")
        await check_screen(user.pilot, "small_revert")

    play(node, {"template": "panic"}, story, (80, 24))


def test_screen_of_help(node: Node) -> None:
    async def story(user: User) -> None:
        await user.press("h")
        await check_screen(user.pilot, "help")
        await user.press("j", "h")
        assert user.step == 0

    play(node, {"code": LOOP}, story)


@pytest.mark.full
def test_moves(node: Node) -> None:
    async def story(user: User) -> None:
        await user.press("j", "j", "n")
        assert user.step == 3
        await user.press("k")
        assert user.step == 2
        await user.press("1", "0", "j")
        assert user.step == 12
        await user.press("3", "p")
        assert user.step == 9
        await user.press("g")
        assert user.step == 0
        await user.press("G")
        assert user.app.view.state["halt"]["reason"] == "stop"
        assert user.step == user.app.view.length
        await user.type("colon", "5")
        await user.type("colon", "+4")
        await user.type("colon", "-2")
        assert user.step == 7
        await user.press("g", "s")
        assert (user.step, user.app.view.state["opcode"]) == (1, "JUMPDEST")
        await user.press("s")
        assert (user.step, user.app.view.state["opcode"]) == (8, "JUMPDEST")
        await user.press("a")
        assert (user.step, user.app.view.state["opcode"]) == (7, "JUMPI")
        assert user.app.view.breakpoints == ()
        assert user.step == (await user.session.state()).step

    play(node, {"code": LOOP}, story)


@pytest.mark.full
def test_calls_over_out_and_back(node: Node) -> None:
    async def story(user: User) -> None:
        await user.press("C")
        call = user.step
        assert user.app.view.state["opcode"] == "CALL"
        await user.press("o")
        after = user.step
        assert (user.app.view.state["opcode"], user.app.view.state["depth"]) == ("RETURNDATASIZE", 1)
        await user.press("O")
        assert user.step == call
        await user.press("j", "j", "u")
        assert user.step == after
        await user.press("k", "U")
        assert user.step == call
        await user.press("C")
        assert "no later call" in user.screen
        await user.press("G", "c")
        assert user.step == call

    play(node, {"template": "calls"}, story)


@pytest.mark.full
def test_breakpoints_forwards_and_backwards(node: Node) -> None:
    async def story(user: User) -> None:
        await user.type("colon", "4")
        await user.press("b", "g", "r")
        assert user.step == 4
        await user.type("e", "stack[0] == 1 && op == PUSH1")
        await user.type("B", "opcode JUMPI")
        assert [point["kind"] for point in user.app.view.breakpoints] == ["pc", "expression", "opcode"]
        await user.press("g", "apostrophe", "c")
        assert user.app.view.state["opcode"] == "JUMPI"
        await user.press("r", "R")
        assert user.app.view.state["opcode"] == "JUMPI"
        await user.type("d", "c")
        await user.type("colon", "4")
        await user.press("b")
        assert [point["kind"] for point in user.app.view.breakpoints] == ["expression"]
        await user.press("r")
        assert user.app.view.state["stack"][-1] == "0x1"
        await user.type("B", "pc zz")
        assert "'zz' is not a number" in user.screen
        await user.type("B", "nonsense")
        assert "no kind 'nonsense'" in user.screen

    play(node, {"code": LOOP}, story)


@pytest.mark.full
def test_what_if_branches_and_values(node: Node) -> None:
    async def story(user: User) -> None:
        await user.press("j")
        length = user.app.view.length
        await user.type("w", "stack 0 = 0x5")
        assert user.app.view.state["stack"] == ["0x5"]
        assert user.app.view.length == length + 2 * 7
        await user.type("equals_sign", "stack[0] * 2")
        assert "stack[0] * 2 = 0xa (10)" in user.screen
        await check_screen(user.pilot, "what_if")
        await user.type("v", "")
        assert "there are branches 0, 1" in user.screen
        await user.type("v", "0")
        assert user.step == 0
        assert user.app.view.length == length
        await user.type("w", "stack 0")
        assert "stack is followed by index and value" in user.screen

    play(node, {"code": LOOP}, story)


@pytest.mark.full
def test_saving_and_exporting(node: Node, tmp_path: Path) -> None:
    async def story(user: User) -> None:
        await user.press("5", "j")
        await user.type("S", "half way")
        listed = await user.session.node.rpc("zvmd_session_list")
        copy = next(line for line in listed if line["name"] == "half way")
        assert copy["position"] == 5
        assert f"saved as session {copy['id']}" in user.screen
        await user.type("X", str(tmp_path / "file"))
        again = await zvmd.AsyncSession.load(user.session.node, tmp_path / "file")
        assert (await again.state()).step == 5
        await user.type("X", str(tmp_path / "none" / "file"))
        assert "No such file" in user.app.view.message

    play(node, {"code": LOOP}, story)


@pytest.mark.full
def test_a_prompt_takes_all_keys_until_escape(node: Node) -> None:
    async def story(user: User) -> None:
        await user.press("colon", "j", "q", "tab", "escape")
        assert not user.app.query("#prompt")
        assert user.step == 0
        await user.press("j")
        assert user.step == 1
        await user.press("colon", "plus", "2", "enter")
        assert user.step == 3

    play(node, {"code": LOOP}, story)


@pytest.mark.full
def test_long_things_are_fetched_where_they_come_in_sight(node: Node) -> None:
    async def story(user: User) -> None:
        await user.press("3", "j")
        memory = user.pane("memory")
        assert memory.virtual_size.height == 4096
        asked: list[str] = []
        original = user.session.node.rpc

        async def counted(method: str, *params: Any) -> Any:
            asked.append(method)
            return await original(method, *params)

        user.session.node.rpc = counted  # type: ignore[method-assign]
        memory.focus()
        await user.press("end")
        while "1ffe0 " not in screen_of(user.app) or "…" in screen_of(user.app):
            await user.settle()
        shown = screen_of(user.app)
        assert "1ffe0 " + "0" * 63 + "7" in shown
        assert asked == ["zvmd_session_state"]
        await user.press("ctrl+k", "ctrl+k")
        assert memory.scroll_offset.y == memory.max_scroll_y - 2

    play(node, {"code": BIG}, story)


def test_a_run_does_not_block_keys_and_escape_pauses_it(node: Node) -> None:
    async def story(user: User) -> None:
        await user.pilot.press("r")
        while not user.app.view.is_busy:
            await user.pilot.pause()
        await user.pilot.press("m")
        assert user.app.view.options.shows_text
        assert "running, Esc pauses" in user.screen
        await user.press("escape")
        assert "(paused)" in user.screen
        assert user.step > 0

    play(node, {"code": ENDLESS, "gas": 1 << 36}, story)


@pytest.mark.full
def test_what_others_do_is_seen_at_once(node: Node) -> None:
    async def story(user: User) -> None:
        assert node.daemon is not None
        async with zvmd.connect(
            f"quic://127.0.0.1:{node.daemon.quic_port}", data_dir=node.daemon.data_dir
        ) as client:
            other = zvmd.AsyncSession(client, user.session.id)
            await other.step(4)
            await other.add_breakpoint("opcode", opcode="STOP")
            while user.step != 4 or not user.app.view.breakpoints:
                await user.settle()

    play(node, {"code": LOOP}, story)


@pytest.mark.full
def test_the_session_outlives_the_node_and_the_screen_goes_on(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "data")
    daemon.start()

    async def playing() -> None:
        async with debugging(daemon, {"code": LOOP}) as user:
            await user.press("5", "j")
            daemon.kill()
            await user.press("j")
            assert "nothing listens there" in user.screen
            daemon.start()
            await user.press("j")
            assert user.step in (6, 7)  # the first j was perhaps done
            assert user.step == (await user.session.state()).step

    try:
        asyncio.run(playing())
    finally:
        daemon.close()


def test_calldata_of_each_frame_in_pages(node: Node) -> None:
    long = "0xa9059cbb" + "".join(f"{at:064x}" for at in range(1_000))

    async def story(user: User) -> None:
        assert "calldata 32004 bytes" in user.screen
        assert "selector 0xa9059cbb" in user.screen
        user.pane("calldata").scroll_end(animate=False)
        await user.settle()
        await user.settle()
        assert f"{4 + 32 * 999:05x} {999:064x}" in user.screen

    play(node, {"code": LOOP, "calldata": long}, story)


def test_every_key_is_told_once() -> None:
    keys = [name for key in KEYS for name in key.keys.split(",")]
    assert len(set(keys)) == len(keys)
    assert all(key.command or hasattr(Debugger, "action_" + key.action.partition("(")[0]) for key in KEYS)
