"""Structured logs on standard error: pretty on a terminal, one JSON object a line elsewhere; limited for each kind."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable
from typing import Any, Final, Literal, Protocol

import msgspec
import structlog
from structlog.typing import EventDict, Processor

from zvmd.printable import printable

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "pretty", "json"]

NOISY = {
    "websockets.server": logging.WARNING,
    "apscheduler": logging.ERROR,
    "alembic": logging.WARNING,
}
"""Libraries that say at INFO what nobody asked. Their warnings still come through, but for the scheduler's, four a
second while a job takes longer than its interval, as a checkpoint may: `node.ops.jobs` tells of jobs that fail."""

BURST: Final = 20
"""Lines of one kind that may come in a burst; then `LINES_PER_SECOND`."""
LINES_PER_SECOND: Final = 1.0
KIND_FIELDS: Final = ("event", "job", "work", "method", "code")
"""Fields that, with the event, define a structlog line's kind: one failing job does not suppress another's lines."""
KINDS_MAX: Final = 512
"""Kinds limited separately; all others share one limit."""


class Sink(Protocol):
    """Where log lines go."""

    def put(self, text: str) -> None:
        """Write whole lines; must not block."""

    @property
    def dropped(self) -> int:
        """Lines lost."""


class LogStatus(msgspec.Struct, frozen=True, rename="camel"):
    """What ``zvmd status`` says of the log."""

    lines: int
    """Written since the start."""
    suppressed: int
    """Suppressed because there were too many of their kind."""
    dropped: int
    """Lost because the reader was too slow or the write failed."""


class Allowance:
    """A token bucket for one kind of lines, and how many lines it suppressed."""

    __slots__ = ("at", "left", "suppressed")

    def __init__(self, now: float) -> None:
        self.left = float(BURST)
        self.at = now
        self.suppressed = 0

    def take(self, now: float) -> bool:
        """Whether a line may be written now."""
        self.left = min(float(BURST), self.left + (now - self.at) * LINES_PER_SECOND)
        self.at = now
        if self.left < 1.0:
            self.suppressed += 1
            return False
        self.left -= 1.0
        return True


class LimitedHandler(logging.Handler):
    """Formats records for a sink: a burst of each kind, then one a second that says how many were ``suppressed``.

    A kind is an event of structlog with its `KIND_FIELDS`, or a line of code that calls the standard library's logging.
    Critical records are never suppressed: the process ends after one.
    """

    def __init__(self, sink: Sink, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._sink = sink
        self._clock = clock
        self._kinds: dict[Hashable, Allowance] = {}
        self._written = 0
        self._suppressed = 0

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < logging.CRITICAL:
            kind = self._allowance(record)
            if not kind.take(self._clock()):
                self._suppressed += 1
                return
            if kind.suppressed:
                _tell_suppressed(record, kind.suppressed)
                kind.suppressed = 0
        try:
            self._sink.put(self.format(record) + "\n")
        except Exception as error:
            self._sink.put(f"a log record of {record.name} cannot be formatted: {printable(repr(error))}\n")
        self._written += 1

    def status(self) -> LogStatus:
        """Counts since the start."""
        return LogStatus(self._written, self._suppressed, self._sink.dropped)

    def dropped_line(self, count: int) -> str:
        """The line that reports how many lines were lost."""
        record = logging.LogRecord("zvmd.log", logging.WARNING, "", 0, "log lines dropped", None, None)
        record.count = count
        return self.format(record) + "\n"

    def _allowance(self, record: logging.LogRecord) -> Allowance:
        said = record.msg
        place = (record.pathname, record.lineno)
        parts = [said.get(field) for field in KIND_FIELDS] if isinstance(said, dict) else place
        key: Hashable = (record.name, *map(str, parts))
        found = self._kinds.get(key)
        if found is None:
            if len(self._kinds) >= KINDS_MAX:
                key = None
            found = self._kinds.setdefault(key, Allowance(self._clock()))
        return found


def configure_logging(level: Level, form: Format, sink: Sink, terminal: bool = False) -> LimitedHandler:
    """Send structlog's and the standard library's records through one formatter to ``sink``.

    ``terminal``: whether ``sink`` is one; it gets colours and, unless ``form`` is "json", readable lines, not JSON.
    """
    pretty = form == "pretty" or (form == "auto" and terminal)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    last: list[Processor]
    if pretty:
        # plain tracebacks: rich ones print local variables, and some of those are keys
        plain = structlog.dev.plain_traceback
        renderer = structlog.dev.ConsoleRenderer(colors=terminal, exception_formatter=plain)
        last = [structlog.processors.format_exc_info, _for_terminals, renderer]
    else:
        last = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    handler = LimitedHandler(sink)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    for name, least in NOISY.items():
        logging.getLogger(name).setLevel(max(least, root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    return handler


def log_status() -> dict[str, Any]:
    """`LogStatus` of this process, empty if its log goes elsewhere."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LimitedHandler):
            found: dict[str, Any] = msgspec.to_builtins(handler.status())
            return found
    return {}


def log_thread_ends() -> None:
    """Log the exception of a thread that ends by one."""

    def ended(arguments: threading.ExceptHookArgs) -> None:
        name = arguments.thread.name if arguments.thread is not None else "?"
        structlog.get_logger("zvmd.threads").error("thread ended", thread=name, exc_info=arguments.exc_value)

    threading.excepthook = ended


def _tell_suppressed(record: logging.LogRecord, count: int) -> None:
    if isinstance(record.msg, dict):
        record.msg = record.msg | {"suppressed": count}
    else:
        record.suppressed = count


def _for_terminals(_: Any, __: str, event: EventDict) -> EventDict:
    """Escape text from peers and files that could control the terminal."""
    return {name: value if isinstance(value, (int, float)) else _shown(value) for name, value in event.items()}


def _shown(value: Any) -> str:
    return printable(value if isinstance(value, str) else repr(value), lines=True)
