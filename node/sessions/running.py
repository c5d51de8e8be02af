"""Sessions that run on the node by themselves, in pieces, until they halt, meet a breakpoint or are paused."""

from __future__ import annotations

import structlog

from chain.errors import ZvmdError
from debugger.commands import Run
from debugger.limits import RUN_SLICE
from node.sessions.moves import answering, move
from node.sessions.service import SessionService

log = structlog.get_logger(__name__)


class Runner:
    """Use it from the service's event loop."""

    def __init__(self, service: SessionService) -> None:
        self._service = service
        self._going: set[int] = set()

    def toggle(self, session: int) -> bool:
        """Begin to run, or pause; whether it runs now. Each piece is kept. Raises `SessionNotFound`."""
        if session in self._going:
            self._going.discard(session)
            self._service.pause(session)
            return False
        if self._service.keeper.kept(session).place.halt:
            return False
        self._going.add(session)
        self._service.seats.begin(self._run(session))
        return True

    async def _run(self, session: int) -> None:
        try:
            while session in self._going:
                stands = await self._service.change(session, answering(move(Run(RUN_SLICE))), "run")
                if stands["reason"] != "limit":
                    return
        except ZvmdError as error:  # nobody waits for the answer; the session is as it was before this piece
            log.warning("a session stopped running", session=session, error=str(error))
        finally:
            self._going.discard(session)
