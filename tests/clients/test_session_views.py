"""Sessions in the SDK: what notebooks and terminals show, and the handle for event loops."""

from __future__ import annotations

import asyncio
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

import zvmd
from debugger.assembly import assemble
from tests.conftest import Node

LONG = "0x" + assemble("PUSH 9 PUSH 0x0400 MSTORE PUSH 5 PUSH 1 SSTORE " + "PUSH 7 " * 20 + "STOP").hex()
HOSTILE = "<script>alert(1)</script>[red]\x1b[2J&"


def hostile_revert() -> str:
    """Code that reverts with Error(HOSTILE)."""
    text = HOSTILE.encode()
    data = bytes.fromhex("08c379a0") + (32).to_bytes(32, "big") + len(text).to_bytes(32, "big") + text.ljust(64, b"\0")
    stores = " ".join(
        f"PUSH32 0x{data[at : at + 32].ljust(32, bytes(1)).hex()} PUSH {at} MSTORE" for at in range(0, len(data), 32)
    )
    return "0x" + assemble(f"{stores} PUSH {len(data)} PUSH 0 REVERT").hex()


class Tags(HTMLParser):
    """Names of the elements and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_notebook_shows_the_session_and_obeys_nothing_in_it(quic: zvmd.Node) -> None:
    session = zvmd.Session.create(quic, code=hostile_revert())
    session.run()
    page = Tags(session._repr_html_())
    assert page.names == {"div", "b", "details", "summary", "table", "tr", "td"}
    assert "halted: revert Error('<script>alert(1)</script>[red]" in page.text
    bundle = session._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html"}
    assert "\x1b" not in bundle["text/plain"] + bundle["text/html"]
    assert repr(session) == f"<zvmd.Session {session.id}>"


def test_the_terminal_view_says_what_it_leaves_out(quic: zvmd.Node) -> None:
    session = zvmd.Session.create(quic, code=LONG)
    session.seek(26)
    lines = str(session).splitlines()
    assert lines[0].startswith(f"session {session.id}  step 26  pc ")
    assert "  4 more words: ask state() for them" in lines
    assert "  544 more bytes: ask state() for them" in lines
    assert "  0x1  0x5" in lines  # storage
    console = Console(file=StringIO(), width=100, record=True)
    console.print(session)
    shown = console.export_text()
    assert "4 more words" in shown
    assert "0x0000  0000" in shown


def test_rich_prints_what_a_contract_says_as_it_is(quic: zvmd.Node) -> None:
    session = zvmd.Session.create(quic, code=hostile_revert())
    session.run()
    console = Console(file=StringIO(), width=200, record=True)
    console.print(session)
    assert "[red]" in console.export_text(clear=False)
    assert "\x1b[2J" not in console.export_text(styles=True)


def test_the_handle_for_event_loops(node: Node, tmp_path: Path) -> None:
    if node.daemon is None:
        pytest.skip("an outside node has no QUIC")
    url, folder = f"quic://127.0.0.1:{node.daemon.quic_port}", node.daemon.data_dir

    async def work() -> None:
        async with zvmd.connect(url, data_dir=folder) as client:
            session = await zvmd.AsyncSession.create(client, code=LONG)
            assert (await session.step(2)).opcode == "MSTORE"
            assert await session.evaluate("stack[0] + stack[1]") == 0x409
            number = await session.add_breakpoint("opcode", opcode="SSTORE")
            assert (await session.run()).breakpoints == (number,)
            await session.remove_breakpoint(number)
            assert (await session.edit("stack", index=1, value=6)).branch == 1
            assert (await session.step()).step == 6
            assert (await session.state()).storage == {1: 6}
            assert (await session.step_over_back()).step == 5
            copy = await session.save("copy")
            assert await session.export(tmp_path / "file") == (tmp_path / "file").stat().st_size
            again = await zvmd.AsyncSession.load(client, tmp_path / "file")
            assert (await again.compare(copy)).is_equal
            assert (await again.state()) == await session.state()
            assert "SSTORE" in str(await session.view())
            assert (await session.reverse_run()).reason == "start"
            template = await zvmd.AsyncSession.from_template(client, "calls")
            assert (await template.seek(10)).step == 10
            assert (await template.step_out_back()).depth == 1
            for one in (session, copy, again, template):
                await one.close()

    asyncio.run(work())


def test_a_run_is_paused_from_the_same_loop(node: Node) -> None:
    if node.daemon is None:
        pytest.skip("an outside node has no QUIC")
    url, folder = f"quic://127.0.0.1:{node.daemon.quic_port}", node.daemon.data_dir

    async def work() -> str:
        async with zvmd.connect(url, data_dir=folder) as client:
            session = await zvmd.AsyncSession.create(client, code="0x5b600056", gas=1 << 36)
            running = asyncio.ensure_future(session.run())
            while not running.done():
                await session.pause()
                await asyncio.sleep(0.01)
            await session.close()
            return str((await running).reason)

    assert asyncio.run(work()) == "paused"
