"""Session records over simulated power losses: the acknowledged one is there, or a later one, never an earlier."""

from __future__ import annotations

from node.engine.pipeline import KeepSession
from tests.simulation.disks import Disk
from tests.simulation.life import Life
from tests.simulation.script import Script, Workload


def ignore(_: object) -> None:
    """Nobody waits."""


def script() -> Script:
    workload = Workload(lambda _: None)
    return workload.start(Disk.new(0), workload.record())


def restarted(life: Life, disk: Disk) -> dict[int, bytes | None]:
    shelf = Life(disk, life.record, life.options).store.sessions
    return {session: shelf.get(session) for session in shelf}


def test_records_survive_as_they_were_acknowledged() -> None:
    s = script()
    life = s.life
    acknowledged: dict[int, int] = {}
    number = 0

    def keep(session: int, record: bytes | None, value: int) -> KeepSession:
        return KeepSession(lambda _: acknowledged.__setitem__(session, value), session, record)

    for round_ in range(4):
        for session in (1, 2, 3):
            number += 1
            life.turn(keep(session, b"%d" % number, number))
        life.turn(keep(3, None, 0))
        if round_ % 2:
            life.turn(life.mine())
            life.checkpoint()
        number += 1
        life.turn(keep(2, b"%d" % number, number), commit=False)
        for seed in range(2):
            for name, disk in life.disk.survivors(seed, 6):
                found = restarted(life, disk)
                assert found[1] == b"%d" % acknowledged[1], name
                assert int(found[2] or b"") in (acknowledged[2], number), name
                assert 3 not in found, name
        life.commit()
    assert Life(life.disk.picture(), life.record, life.options).store.sessions.highest == 3
