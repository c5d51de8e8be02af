"""Many sessions by id, with the eight operations of the debugger this one grew from, under their names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

from msgspec.structs import replace

from chain.state import BlockHashes, StateReader
from debugger.errors import SessionLimitReached, SessionNotFound
from debugger.limits import SESSIONS
from debugger.program import Program
from debugger.session import Session
from debugger.state import State, StateQuery
from vm.machine import Machine

_IDLE = Program(code="0x")


@dataclass
class Desk:
    """Open sessions. Ids begin at 1 and are never given twice; every operation names its session."""

    machine: Machine
    base: Callable[[], tuple[StateReader | None, BlockHashes | None]] = lambda: (None, None)
    """The state new sessions start from."""
    active: int | None = None
    """For clients that show one session at a time; no operation depends on it."""
    _sessions: dict[int, Session] = field(default_factory=dict)
    _ids: Iterator[int] = field(default_factory=lambda: count(1))

    def __getitem__(self, session: int) -> Session:
        """Raises `SessionNotFound`."""
        try:
            return self._sessions[session]
        except KeyError:
            raise SessionNotFound(f"no session {session}") from None

    def __iter__(self) -> Iterator[int]:
        return iter(tuple(self._sessions))

    def __len__(self) -> int:
        return len(self._sessions)

    def adopt(self, session: Session, id: int | None = None) -> int:  # noqa: A002
        """Put a session on the desk, under a known id after a restart."""
        if len(self._sessions) >= SESSIONS:
            raise SessionLimitReached(f"at most {SESSIONS} sessions are open at once")
        if id is None:
            id = next(self._ids)  # noqa: A001
        elif id in self._sessions:
            raise SessionLimitReached(f"session {id} is open")
        else:
            self._ids = count(max(id + 1, next(self._ids)))
        self._sessions[id] = session
        self.active = self.active or id
        return id

    # The eight

    def create_session(self, program: Program | None = None) -> int:
        """A new session, of an empty program unless one is given."""
        if len(self._sessions) >= SESSIONS:
            raise SessionLimitReached(f"at most {SESSIONS} sessions are open at once")
        base, block_hash = self.base()
        return self.adopt(Session(program or _IDLE, self.machine, base, block_hash))

    def close_session(self, session: int) -> bool:
        """End a session; whether there was one. No other takes its place."""
        found = self._sessions.pop(session, None)
        if found is None:
            return False
        found.close()
        if self.active == session:
            self.active = next(iter(self._sessions), None)
        return True

    def set_active_session(self, session: int) -> None:
        """Remember which one is looked at. Raises `SessionNotFound`."""
        _ = self[session]
        self.active = session

    def load_bytecode(self, session: int, bytecode_hex: str) -> State:
        """Load code in place of the session's program, keeping fork, caller and the rest."""
        found = self[session]
        found.load(replace(found.program, code=bytecode_hex, to=None, transaction=None))
        return found.state()

    def reset_evm(self, session: int) -> State:
        """Back to the start."""
        self[session].reset()
        return self[session].state()

    def step_evm(self, session: int) -> State:
        """One operation."""
        self[session].step()
        return self[session].state()

    def toggle_run_pause(self, session: int) -> bool:
        """Begin or stop running; a driver calls `Session.run_slice` meanwhile. Whether it runs now."""
        return self[session].toggle_run_pause()

    def get_evm_state(self, session: int, query: StateQuery | None = None) -> State:
        """The state, in pages."""
        found = self[session]
        return found.state() if query is None else found.state(query)
