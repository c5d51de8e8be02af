"""The conversation with one editor: requests in, responses and events out. The program runs in its own thread."""

from __future__ import annotations

import contextlib
import itertools
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

from node.dap import adapter, moves
from node.dap import arguments as ask
from node.dap.adapter import AT_ONCE, REQUESTS, ProtocolRefusal, Reply, RequestRow, While
from node.dap.arguments import Refused
from node.dap.caretaker import Caretaker, clean_up
from node.dap.debuggee import Debuggee
from node.dap.line import ReconnectingLink, RpcLink
from node.dap.moves import MoveInterruption
from node.dap.protocol import Malformed, MessageWriter, messages
from zvmd.errors import ConnectionFailed, ZvmdError

Json = dict[str, Any]

REQUESTS_WAITING = 1_000
"""Most requests that wait; others are read when there is room."""
STOP_WAIT_S = 1.0
"""How long a request that needs the program stopped waits for that."""
PAUSE_AGAIN_S = 0.2
"""Interval of pause requests: a run that is just starting can miss the first one."""
BACK_WAIT_S = 60.0
"""How long a move that lost the connection waits for the node to report the position."""
AFTERWARDS_S = 0.05
"""How long requests after a disconnect are still answered."""
_numbers = itertools.count(1)


class EditorGone(Exception):
    """The editor no longer reads what is written."""


class Conversation:
    """One conversation; `serve` answers until the editor leaves."""

    def __init__(self, connect: Callable[[], RpcLink], caretaker: Caretaker | None, answers: BinaryIO) -> None:
        self._line = ReconnectingLink(connect, lambda text: self._tell(text, "important"))
        self._it = Debuggee(self._line.rpc)
        self._number, self._caretaker = next(_numbers), caretaker
        self._noted: tuple[Any, ...] = (None, False, [])
        self._writer = MessageWriter(answers)
        self._waiting: queue.Queue[Json | None] = queue.Queue(REQUESTS_WAITING)
        self._queued: set[int] = set()
        """Sequence numbers of the requests that wait."""
        self._cancelled: set[int] = set()
        self._move: threading.Thread | None = None
        self._interruption = MoveInterruption()

    def serve(self, requests: BinaryIO) -> None:
        """Answer until the editor disconnects, or its end of a stream is closed; then leave the session."""
        threading.Thread(target=self._read, args=(requests,), name="dap-read", daemon=True).start()
        try:
            while not self._it.is_over and (request := self._waiting.get()) is not None:
                self._answer(request, REQUESTS)
            with contextlib.suppress(queue.Empty):
                while (request := self._waiting.get(timeout=AFTERWARDS_S)) is not None:
                    self._fail(request, Refused("the editor has disconnected"))
        except EditorGone:
            pass
        finally:
            self._leave()
            self._line.close()

    # Reading

    def _read(self, requests: BinaryIO) -> None:
        with contextlib.suppress(EditorGone, OSError, ValueError):
            for message in messages(requests):
                if isinstance(message, Malformed):
                    self._refuse_malformed(message)
                elif message.get("command") == "cancel":
                    self._cancel(message)
                elif message.get("command") == "pause":
                    self._answer(message, AT_ONCE)
                    self._pause_move(self._interruption)
                elif message.get("type") not in ("response", "event"):
                    self._queued.add(_seq(message))
                    self._waiting.put(message)
        self._waiting.put(None)

    def _refuse_malformed(self, message: Malformed) -> None:
        if message.seq is not None:
            self._fail({"seq": message.seq}, Refused(message.reason))
        self._write({"type": "event", **moves.output(f"the editor sent {message.reason}", "stderr")})

    def _cancel(self, request: Json) -> None:
        """Cancel a request that waits; one that is being executed continues."""
        arguments = request.get("arguments")
        wanted = arguments.get("requestId") if isinstance(arguments, dict) else None
        if isinstance(wanted, int) and wanted in self._queued:
            self._cancelled.add(wanted)
        self._answer(request, AT_ONCE)

    def _pause_move(self, interruption: MoveInterruption) -> None:
        """Pause the move, repeating the request until it ends."""
        move = self._move
        if move is None or not move.is_alive():
            return
        interruption.pause()

        def insist() -> None:
            while move.is_alive():
                with contextlib.suppress(ZvmdError):
                    self._it.call("pause")
                move.join(PAUSE_AGAIN_S)

        threading.Thread(target=insist, name="dap-pause", daemon=True).start()

    # Answering

    def _answer(self, request: Json, table: dict[str, RequestRow]) -> None:
        """Write the response and the events after it. Every request gets a response, also after an error."""
        command = request.get("command")
        name = command if isinstance(command, str) else ""
        try:
            self._queued.discard(_seq(request))
            if _seq(request) in self._cancelled:
                self._cancelled.discard(_seq(request))
                raise ProtocolRefusal("cancelled", "cancelled by the editor")
            if request.get("type") != "request":
                raise Refused("a message is a request, a response or an event")
            row = adapter.check(self._it, table.get(name), name)
            arguments = ask.read(request.get("arguments"), row.arguments)
            with self._stopped_for(row):
                found = row.handler(self._it, arguments)
                self._note()
            if self._it.is_over:
                self._leave()
        except EditorGone:
            raise
        except Exception as error:
            self._fail(request, error)
            return
        then = found if isinstance(found, Reply) else Reply(found, lambda _: ())
        self._write({**_response(request), "success": True, "body": then.body})
        interruption = MoveInterruption() if then.is_move else self._interruption
        if not then.is_move:
            self._emit(lambda: then.events(interruption))
            return
        self._interruption = interruption
        self._move = threading.Thread(
            target=self._emit, args=(lambda: then.events(interruption),), name="dap-move", daemon=True
        )
        self._move.start()

    @contextlib.contextmanager
    def _stopped_for(self, row: RequestRow) -> Iterator[None]:
        """Wait until the program is paused, if the request needs that. Raises `ProtocolRefusal`."""
        move, interruption = self._move, self._interruption
        if move is None or not move.is_alive() or row.running is While.ANSWERED:
            yield
        elif row.running is While.WAITS:
            move.join(STOP_WAIT_S)
            if move.is_alive():
                raise ProtocolRefusal("notStopped", "the program is running: pause it first")
            yield
        elif row.running is While.ENDS:
            self._end_move()
            yield
        else:
            interruption.want(1)
            try:
                while move.is_alive() and not interruption.wait_parked(PAUSE_AGAIN_S / 10):
                    with contextlib.suppress(ZvmdError):
                        self._it.call("pause")
                yield
            finally:
                interruption.want(-1)

    def _end_move(self) -> None:
        self._pause_move(self._interruption)
        if self._move is not None and self._move is not threading.current_thread():
            self._move.join()

    # Writing

    def _fail(self, request: Json, error: BaseException) -> None:
        if not isinstance(error, Refused | ZvmdError):
            traceback.print_exception(error, file=sys.stderr)
        self._write(_response(request) | adapter.failed(error))

    def _write(self, message: Json) -> None:
        try:
            self._writer.write(message)
        except (OSError, ValueError):
            self._it.lose_editor()
            raise EditorGone from None

    def _emit(self, events: Callable[[], Iterable[Json]]) -> None:
        """Write events as they come. A move that fails ends in a stopped event, which the editor waits for."""
        try:
            for found in events():
                self._note()
                self._write({"type": "event", **found})
        except EditorGone:
            with contextlib.suppress(queue.Full):
                self._waiting.put_nowait(None)
        except Exception as error:
            if not isinstance(error, Refused | ZvmdError):
                traceback.print_exception(error, file=sys.stderr)
            text = str(adapter.failed(error)["message"])
            self._tell(text, "stderr")
            if isinstance(error, ConnectionFailed):
                self._line.wait_until_back(BACK_WAIT_S, lambda: self._interruption.pause_wanted)
            with contextlib.suppress(EditorGone):
                self._write({"type": "event", **moves.stopped("pause", description=text)})

    def _tell(self, text: str, category: str) -> None:
        with contextlib.suppress(EditorGone):
            self._write({"type": "event", **moves.output(text, category)})

    # Leaving

    def _note(self) -> None:
        """Tell the caretaker what to do if this process dies now."""
        it = self._it
        duty = it.session, it.is_own, it.points.numbers
        if self._caretaker is not None and duty != self._noted:
            self._noted = duty
            self._caretaker.note(self._number, *duty)

    def _leave(self) -> None:
        """Close a launched session; remove the editor's breakpoints from one that stays."""
        it = self._it
        if it.session is None:
            return
        session, closes, numbers = it.session, it.is_own, it.points.numbers
        self._note()
        self._end_move()
        try:
            refusal = clean_up(self._line.rpc, session, closes, numbers)
        except ConnectionFailed as error:
            self._tell(f"{error.message}: the session is left as it is until the node is back", "stderr")
        else:
            it.leave()
            self._note()
            if refusal:
                self._tell(refusal, "stderr")


def _seq(request: Json) -> int:
    seq = request.get("seq")
    return seq if isinstance(seq, int) and not isinstance(seq, bool) else 0


def _response(request: Json) -> Json:
    command = request.get("command")
    return {"type": "response", "request_seq": _seq(request), "command": command if isinstance(command, str) else ""}
