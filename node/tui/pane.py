"""A pane: a listing of any length, of which only visible rows are drawn."""

from __future__ import annotations

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from node.tui.listings import NOT_HERE, Listing, Row
from zvmd.printable import printable

STYLES = {
    "plain": Style(),
    "dim": Style(dim=True),
    "here": Style(bold=True, reverse=True),
    "mark": Style(bold=True, color="yellow"),
    "good": Style(color="green"),
    "bad": Style(color="red", bold=True),
}


def strip_of(row: Row) -> Strip:
    """The row as textual draws it."""
    return Strip([Segment(printable(text), STYLES[style]) for text, style in row])


class Pane(ScrollView, can_focus=True):
    """Shows a listing and keeps its focused row visible."""

    class Wanted(Message):
        """A row became visible whose page is not loaded."""

        def __init__(self, field: str, number: int) -> None:
            super().__init__()
            self.field, self.number = field, number

    def __init__(self, id: str) -> None:  # noqa: A002 (textual's name)
        super().__init__(id=id)
        self._listing: Listing | None = None

    def show(self, listing: Listing) -> None:
        """Show another listing."""
        before, self._listing = self._listing, listing
        self.border_title = listing.title
        self._measure()
        if listing.focus is not None and (before is None or before.focus != listing.focus):
            self._bring_into_sight(listing.focus)
        self.refresh()

    def _measure(self) -> None:
        """Set the width to that of the visible rows: others may be very long, and very many."""
        listing = self._listing
        if listing is not None:
            top = self.scroll_offset.y
            rows = (listing.row(number) or [] for number in range(top, min(top + self.size.height, listing.rows)))
            widest = max((sum(cell_len(text) for text, _ in row) for row in rows), default=0)
            self.virtual_size = Size(widest, listing.rows)

    def _bring_into_sight(self, row: int) -> None:
        top, height = self.scroll_offset.y, max(1, self.size.height)
        if not top <= row < top + height:
            self.scroll_to(y=max(0, row - height // 3), animate=False, force=True, immediate=True)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Other rows are visible."""
        super().watch_scroll_y(old_value, new_value)
        self._measure()

    def on_resize(self) -> None:
        """More or fewer rows are visible."""
        self._measure()
        if self._listing is not None and self._listing.focus is not None:
            self._bring_into_sight(self._listing.focus)

    def render_line(self, y: int) -> Strip:
        """Render a visible row."""
        left, top = self.scroll_offset
        number, listing = y + top, self._listing
        if listing is None or number >= listing.rows:
            return Strip.blank(self.size.width, self.rich_style)
        row = listing.row(number)
        if row is None:
            assert listing.page_of is not None
            self.call_next(self._want, *listing.page_of(number))
            row = [(NOT_HERE, "dim")]
        strip = strip_of(row)
        return strip.crop_extend(left, left + self.size.width, self.rich_style).apply_style(self.rich_style)

    def _want(self, field: str, number: int) -> None:
        # not while drawing: the message would be the screen's, and not reach the app above it
        self.post_message(self.Wanted(field, number))
