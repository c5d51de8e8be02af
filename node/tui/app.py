"""`Debugger`, the screen: keys queue work, one task does it, and the resulting view is drawn. Data flows one way."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.events import Key as KeyPressed
from textual.events import Resize
from textual.reactive import reactive
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from node.tui.commands import KEYS, LETTER_PROMPT, SUMMED, Command, Key
from node.tui.listings import LISTINGS, Row, status, timeline
from node.tui.pane import STYLES, Pane
from node.tui.source import ViewSource
from node.tui.view import View
from zvmd.errors import ConnectionFailed, ZvmdError
from zvmd.printable import printable

COUNT_DIGITS = 9
LISTEN_AGAIN_S = 1.0
QUEUE_MAX = 10_000
"""Most keys pressed ahead of the node's answers; further ones are refused with a message."""


class Keys(ModalScreen[None]):
    """Help: the table of keys."""

    BINDINGS: ClassVar = [Binding("escape,q,h,question_mark,enter", "app.pop_screen", "close")]

    def compose(self) -> ComposeResult:
        """One line per key."""
        yield Static("\n".join(f"{key.shown:>6}  {key.meaning}" for key in KEYS), id="keys", markup=False)


class Prompt(Input):
    """A question at the bottom. It gets all keys while it is shown."""

    def __init__(self, key: Key) -> None:
        super().__init__(placeholder=key.prompt, id="prompt", max_length=1 if key.prompt == LETTER_PROMPT else 0)
        self.key = key


class Status(Static):
    """The bottom lines, at least two."""

    def show(self, row: Row) -> None:
        """Draw these lines; the layout changes only if their number does."""
        text = Text.assemble(*((printable(piece, lines=True), STYLES[style]) for piece, style in row))
        width = max(1, self.size.width)
        lines = sum(max(1, -(-line.cell_len // width)) for line in text.split("\n", allow_blank=True))
        self.update(text, layout=lines != self.size.height)


class Debugger(App[int | str]):
    """A terminal debugger of one session; its result is the session's id."""

    CSS_PATH = None
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #body { height: 1fr; }
    #left { width: 23fr; }
    #right { width: 37fr; }
    Pane { border: round $primary-muted; height: 1fr; scrollbar-size: 1 1; }
    Pane:focus { border: round $accent; }
    #code { height: 3fr; }
    #calls, #breakpoints { height: 1fr; }
    #stack, #memory { height: 2fr; }
    #calldata, #slots, #outputs { height: 1fr; }
    #timeline { height: 4; }
    #status { height: auto; min-height: 2; max-height: 6; }
    Prompt { height: 1; border: none; padding: 0; }
    Keys { align: center middle; }
    #keys { width: auto; height: auto; max-height: 100%; border: round $accent; padding: 0 1; overflow-y: auto; }
    """
    BINDINGS: ClassVar = [
        *(
            Binding(key.keys, key.action or f"do({at})", key.meaning, show=False, priority=key.keys == "tab")
            for at, key in enumerate(KEYS)
        ),
    ]
    view: reactive[View] = reactive(View(0), init=False, always_update=True)
    """The state. Everything on the screen is a function of it."""

    def __init__(self, source: ViewSource) -> None:
        super().__init__()
        self.animation_level = "none"  # it would only delay the next key
        self._source = source
        self._work: deque[tuple[Command, str]] = deque()
        """Queued commands, with what was typed for each."""
        self._has_work = asyncio.Event()
        self._pages: set[tuple[int, str, int]] = set()
        self._prompted: Prompt | None = None
        self.set_reactive(Debugger.view, View(source.session.id))

    def compose(self) -> ComposeResult:
        """Code, calls and breakpoints left; data right; the run below."""
        with Horizontal(id="body"):
            with Vertical(id="left"):
                yield from (Pane("code"), Pane("calls"), Pane("breakpoints"))
            with Vertical(id="right"):
                yield from (Pane("stack"), Pane("calldata"), Pane("memory"))
                with Horizontal(id="slots"):
                    yield from (Pane("storage"), Pane("transient"))
                with Horizontal(id="outputs"):
                    yield from (Pane("logs"), Pane("returned"))
        yield Pane("timeline")
        yield Status(id="status")

    def on_mount(self) -> None:
        """Fetch the first view."""
        self.query_one("#code").focus()
        self.run_worker(self._work_on(), name="work")
        self.run_worker(self._listen(), name="listen")
        self._queue(_look, "")

    # Drawing

    def watch_view(self, view: View) -> None:
        """Draw it."""
        self.query_one(Status).show(status(view))
        if not view.is_loaded:
            return
        for name, listing in LISTINGS.items():
            self.query_one(f"#{name}", Pane).show(listing(view))
        pane = self.query_one("#timeline", Pane)
        pane.show(timeline(view, max(10, pane.size.width)))

    def on_resize(self, _: Resize) -> None:
        """The timeline is as wide as the screen."""
        self.call_after_refresh(lambda: self.watch_view(self.view))

    def _say(self, message: str) -> None:
        self.view = replace(self.view, message=message)

    # Keys

    def action_do(self, at: int) -> None:
        """Run a key's command at once, or after its prompt."""
        key = KEYS[at]
        assert key.command is not None
        if key.prompt:
            self._ask(key)
            return
        count, self.view = self.view.count, replace(self.view, count="")
        self._queue(key.command, count)

    def on_key(self, event: KeyPressed) -> None:
        """Collect digits, the count for the next key."""
        if event.character is not None and event.character.isdecimal() and self._prompted is None:
            self.view = replace(self.view, count=(self.view.count + event.character)[-COUNT_DIGITS:])

    def _queue(self, command: Command, text: str) -> None:
        """Queue a command; steps in one direction become one command, so that a held key does not lag."""
        if command is not _look:
            self.view = replace(self.view, options=replace(self.view.options, frame=None))
        if self._work and command in SUMMED and self._work[-1][0] is command:
            text = str(int(self._work.pop()[1] or "1") + int(text or "1"))
        if len(self._work) >= QUEUE_MAX:
            self._say(f"{QUEUE_MAX} keys are waiting already")
            return
        self._work.append((command, text))
        self._has_work.set()

    async def _work_on(self) -> None:
        while True:
            await self._has_work.wait()
            while self._work:
                await self._perform(*self._work.popleft())
            self._has_work.clear()

    async def _perform(self, command: Command, text: str) -> None:
        """Run a command, then fetch the view, also after an error, because the session may have moved."""
        view = self.view = replace(self.view, is_busy=command is not _look)
        try:
            message = await command(self._source.session, view, text)
        except ZvmdError as error:
            message = error.message + (f" ({error.hint})" if error.hint else "")
        try:
            looked = await self._source.look(self.view)
        except ZvmdError as error:
            looked, message = self.view, error.message
        self.view = replace(looked, message=message, is_busy=False, count=self.view.count, options=self.view.options)
        if self.view.is_loaded and self.view.tree is None:
            self.run_worker(self._follow(), name="tree", exclusive=True, group="tree")

    async def _listen(self) -> None:
        """Fetch the view after every event of the session; connect again after the connection was lost."""
        while True:
            try:
                async for _ in self._source.changes():
                    if not self._work:
                        self._queue(_look, "")
                return
            except ConnectionFailed:
                await asyncio.sleep(LISTEN_AGAIN_S)
            except ZvmdError as error:
                self._say(error.message)
                return

    async def _follow(self) -> None:
        try:
            tree = await self._source.tree()
        except ZvmdError as error:
            self._say(error.message)
        else:
            self.view = replace(self.view, tree=tree)

    # Prompts

    def _ask(self, key: Key) -> None:
        self._prompted = Prompt(key)
        self.mount(self._prompted)
        self._prompted.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Accept a single letter in a prompt for one."""
        if isinstance(event.input, Prompt) and event.input.key.prompt == LETTER_PROMPT and event.value:
            self._answer(event.input, event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Accept the prompt's text."""
        assert isinstance(event.input, Prompt)
        self._answer(event.input, event.value)

    def _answer(self, prompt: Prompt, text: str) -> None:
        if prompt is not self._prompted:
            return
        self._close_prompt()
        assert prompt.key.command is not None
        self._queue(prompt.key.command, text)

    def _close_prompt(self) -> None:
        if self._prompted is not None:
            self._prompted.remove()
            self._prompted = None
            self.query_one("#code").focus()

    # Actions without a command

    async def action_pause(self) -> None:
        """Leave the prompt, or pause a run; drop the queue."""
        if self._prompted is not None:
            self._close_prompt()
            return
        self._work.clear()
        self.view = replace(self.view, count="")
        self.run_worker(self._pause(), name="pause")

    async def _pause(self) -> None:
        try:
            await self._source.session.pause()
        except ZvmdError as error:
            self._say(error.message)

    def action_scroll(self, pane: str, rows: int) -> None:
        """Scroll a pane that is not the focused one."""
        self.query_one(f"#{pane}", Pane).scroll_relative(y=rows, animate=False)

    def action_toggle_text(self) -> None:
        """Show memory also as text, or not."""
        options = self.view.options
        self.view = replace(self.view, options=replace(options, shows_text=not options.shows_text))

    def action_toggle_operands(self) -> None:
        """Mark the next operation's operands on the stack, or not."""
        options = self.view.options
        self.view = replace(self.view, options=replace(options, marks_operands=not options.marks_operands))

    def action_outer(self) -> None:
        """Show the calling frame."""
        self._look_at_frame(-1)

    def action_inner(self) -> None:
        """Show the called frame."""
        self._look_at_frame(1)

    def _look_at_frame(self, change: int) -> None:
        options, running = self.view.options, len(self.view.state.get("callFrames", ())) - 1
        shown = max(0, min((running if options.frame is None else options.frame) + change, running))
        self.view = replace(self.view, options=replace(options, frame=None if shown >= running else shown))
        self._queue(_look, "")

    def action_next_pane(self) -> None:
        """Move the focus to the next pane."""
        if self._prompted is None:
            self.screen.focus_next()

    def action_keys(self) -> None:
        """Show the help."""
        self.push_screen(Keys())

    async def action_quit(self) -> None:
        """Quit; the session stays in the node."""
        self.exit(self._source.session.id)

    def on_pane_wanted(self, event: Pane.Wanted) -> None:
        """Fetch a page, unless it is on its way."""
        wanted = (self.view.step, event.field, event.number)
        if wanted not in self._pages:
            self._pages.add(wanted)
            self.run_worker(self._fetch(wanted), group="pages")

    async def _fetch(self, wanted: tuple[int, str, int]) -> None:
        _, field, number = wanted
        try:
            found = await self._source.page(self.view, field, number)
        except ZvmdError as error:
            self._say(error.message)
        else:
            self.view = replace(self.view, pages=found.pages) if found.step == self.view.step else self.view
        finally:
            self._pages.discard(wanted)


async def _look(_: object, view: View, text: str) -> str:  # noqa: ARG001
    return view.message
