"""A client that works on debug sessions until the node dies, and knows where each must stand afterwards."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field

from tests.crash.load import BROKEN
from tests.crash.record import Record
from tests.rpc import Rpc

LOOP = "0x5f5b60010180600052600156"
PLACES = (1, 2, 4, 5, 6, 8, 9, 11)
"""Program counters of one turn of `LOOP`, from step 1 on."""
SESSIONS_MAX = 6
STEPS_MAX = 40


@dataclass
class Kept:
    """A session: the step last acknowledged, and the one it moves to if a lost command was done."""

    step: int = 0
    maybe: int = 0


@dataclass
class Desk:
    """Every session of the chain, as its only user knows them. Outlives the node's processes."""

    sessions: dict[int, Kept] = field(default_factory=dict)
    opening: int = 0
    """A session may have been opened whose id nobody was told."""
    closing: set[int] = field(default_factory=set)
    """These may be closed."""
    commands: int = 0
    """Acknowledged."""

    def check(self, rpc: Rpc) -> None:
        """The restarted node has all sessions where they were acknowledged, or one lost command further."""
        listed = {session["id"] for session in rpc.call("zvmd_session_list")}
        lost = self.sessions.keys() - listed - self.closing
        assert not lost, f"sessions acknowledged and lost: {lost}"
        unknown = listed - self.sessions.keys()
        assert len(unknown) <= self.opening, f"sessions nobody opened: {unknown}"
        for session in self.sessions.keys() - listed:
            del self.sessions[session]
        for session in unknown:
            self.sessions[session] = Kept()
        self.opening = 0
        self.closing.clear()
        for session, kept in self.sessions.items():
            state = rpc.call("zvmd_session_state", session)
            step = state["step"]
            assert step in (kept.step, kept.maybe), f"session {session} stands at {step}: {kept}"
            assert state["pc"] == place(step), f"session {session}: pc {state['pc']} at step {step}"
            kept.step = kept.maybe = step


def place(step: int) -> int:
    """Where `LOOP` stands after so many steps."""
    return PLACES[(step - 1) % len(PLACES)] if step else 0


class SessionClient(threading.Thread):
    """Opens, steps, and closes sessions over JSON-RPC."""

    def __init__(self, url: str, desk: Desk, record: Record, seed: int) -> None:
        super().__init__(daemon=True)
        self._rpc = Rpc(url, timeout=30)
        self._desk = desk
        self._record = record
        self._chance = random.Random(seed)
        self.stop = threading.Event()

    def run(self) -> None:
        """One command after another until the node is gone."""
        try:
            while not self.stop.is_set():
                self._turn()
        except BROKEN:
            return
        except Exception as error:  # a thread's failure must reach the test
            self._record.failed("sessions", error)
        finally:
            self._rpc.close()

    def _turn(self) -> None:
        desk, chance = self._desk, self._chance
        if not desk.sessions or (len(desk.sessions) < SESSIONS_MAX and chance.random() < 0.2):
            desk.opening += 1
            session = self._rpc.call("zvmd_session_create", {"code": LOOP, "gas": "0xfffffff"})["id"]
            desk.sessions[session] = Kept()
            desk.opening -= 1
        elif len(desk.sessions) > 2 and chance.random() < 0.05:
            session = chance.choice(sorted(desk.sessions))
            desk.closing.add(session)
            self._rpc.call("zvmd_session_close", session)
            desk.closing.discard(session)
            del desk.sessions[session]
        else:
            self._move(chance.choice(sorted(desk.sessions)))
        desk.commands += 1

    def _move(self, session: int) -> None:
        kept, count = self._desk.sessions[session], self._chance.randint(1, STEPS_MAX)
        back = kept.step > STEPS_MAX and self._chance.random() < 0.3
        kept.maybe = kept.step + (-count if back else count)
        answer = self._rpc.call("zvmd_session_step_back" if back else "zvmd_session_step", session, count)
        assert answer["step"] == kept.maybe, f"session {session}: {answer} instead of step {kept.maybe}"
        kept.step = kept.maybe
