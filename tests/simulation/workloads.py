"""Twelve scripted lives of a node, from outside: what is sent, what jobs run, when it stops."""

from __future__ import annotations

from chain.crypto import create2_address, create_address
from chain.types import Address
from storage.blocks.delta import Deltas
from tests.simulation.life import ACCOUNTS
from tests.simulation.money import Sent
from tests.simulation.programs import (
    factory,
    mapping_slot,
    published_token,
    published_transfer,
    reverting,
    suicidal,
    token,
    token_call,
)
from tests.simulation.script import ETHER, GWEI, Script, Workload

FIRST = create_address(ACCOUNTS[0], 0)
SECOND = create_address(ACCOUNTS[0], 1)
THIRD = create_address(ACCOUNTS[0], 2)
GENESIS_BALANCE = 10_000 * ETHER


def word(address: Address) -> int:
    return int.from_bytes(address, "big")


def transfers(s: Script) -> None:
    s.turn(s.transfer(0, 1, ETHER), wait_mined=True)
    s.turn(s.transfer(0, 2, 2 * ETHER), s.transfer(1, 0, 5), s.transfer(0, 3, 7, kind=0))
    s.turn(s.transfer(2, 2, ETHER, kind=1), wait_mined=True)
    s.life.index()
    again = s.transfer(3, 4, 1)
    s.turn(again)
    s.turn(again, wait_mined=True)
    s.keep(1, b"first")
    s.life.checkpoint()
    s.keep(1, b"first, moved")
    s.turn(s.transfer(4, 0, 3 * ETHER), s.transfer(3, 0, 0))
    s.turn(again, s.transfer(1, 2, 11))


def token_units(s: Script, contract: Address, sender: int, to: int, units: int, *, oz: bool = False) -> Sent:
    def at(account: int) -> int:
        return mapping_slot(ACCOUNTS[account], 0) if oz else word(ACCOUNTS[account])

    data = published_transfer(ACCOUNTS[to], units) if oz else token_call(ACCOUNTS[to], units)
    slots = (((contract, at(sender)), -units), ((contract, at(to)), units))
    return s.send(sender, contract, 0, data, gas=200_000, slots=slots)


def tokens(s: Script) -> None:
    owner = word(ACCOUNTS[0])
    s.turn(s.create(0, token(), slots=(((FIRST, owner), 1_000_000),)), wait_mined=True)
    s.turn(token_units(s, FIRST, 0, 1, 1000), token_units(s, FIRST, 0, 2, 500))
    s.turn(s.send(3, FIRST, 0, token_call(ACCOUNTS[0], 1), gas=200_000, status=0), wait_mined=True)
    supply = (((SECOND, mapping_slot(ACCOUNTS[0], 0)), 10**24), ((SECOND, 2), 10**24))
    s.nonces[0] = 3
    deploy = s.create(0, published_token(ACCOUNTS[0], 10**24))
    address = create_address(ACCOUNTS[0], 3)
    assert deploy.created == ((address, 1),)
    supply = tuple(((address, slot), value) for (_, slot), value in supply)
    s.nonces[0] = 3
    s.turn(s.create(0, published_token(ACCOUNTS[0], 10**24), slots=supply))
    s.life.checkpoint()
    s.turn(token_units(s, address, 0, 1, 10**20, oz=True), token_units(s, FIRST, 1, 2, 10))
    s.life.index()
    s.turn(token_units(s, address, 1, 2, 10**19, oz=True), wait_mined=True)
    s.turn(token_units(s, FIRST, 2, 0, 510), token_units(s, address, 2, 0, 1, oz=True))


BENEFICIARY = Address(b"\xbe" * 20)
CHILD = suicidal(BENEFICIARY)
CHILD_ADDRESS = create2_address(SECOND, 0, CHILD)


def creations(s: Script) -> None:
    gone = create_address(ACCOUNTS[1], 0)
    s.turn(s.create(0, b"", value=ETHER), wait_mined=True)
    s.turn(s.create(1, CHILD, value=5, created=(), moves=((ACCOUNTS[1], BENEFICIARY, 5),)))
    assert gone in CREATIONS.accounts
    s.turn(s.create(0, factory(CHILD)))
    for wei in (1, 2):
        effects = {
            "moves": ((ACCOUNTS[2], BENEFICIARY, wei),),
            "nonces": (SECOND,),
            "slots": (((SECOND, 0), 1),),
        }
        s.turn(s.send(2, SECOND, wei, **effects), s.transfer(0, 3, wei))
        s.life.index()
    s.life.checkpoint()
    s.turn(
        s.send(
            2, SECOND, 9, moves=((ACCOUNTS[2], BENEFICIARY, 9),), nonces=(SECOND,), slots=(((SECOND, 0), 1),)
        )
    )
    s.turn(s.transfer(3, 0, 4))


CREATIONS = Workload(
    creations,
    (FIRST, SECOND, BENEFICIARY, CHILD_ADDRESS, create_address(ACCOUNTS[1], 0)),
    ((SECOND, 0), (CHILD_ADDRESS, 1)),
)


def reverts(s: Script) -> None:
    s.turn(s.create(0, reverting()))
    s.turn(s.send(1, FIRST, 0, status=0), s.send(0, FIRST, 0, gas=21_100, status=0), wait_mined=True)
    good = s.transfer(2, 0, 10)
    refused = [
        s.transfer(2, 0, 11, nonce=0),  # too low once the good one is mined
        s.transfer(3, 0, 20_000 * ETHER, nonce=0),
        s.transfer(3, 0, 1, nonce=0, gas=40_000_000),
        s.transfer(3, 0, 1, nonce=0, cap=1, tip=0),
    ]
    s.turn(good, wait_mined=True)
    s.turn(*refused)
    s.turn(*refused, s.transfer(3, 0, 1), good)
    assert [isinstance(ask.answer, Exception) for ask in s.life.record.asks[-10:]] == [True] * 8 + [False] * 2
    s.life.checkpoint()
    s.turn(s.create(2, b"\xfe", value=3, status=0))
    s.turn(s.send(1, FIRST, 1, status=0))


def gaps(s: Script) -> None:
    s.turn(s.transfer(0, 1, 2, nonce=2), s.transfer(0, 1, 1, nonce=1), s.transfer(5, 1, 50, nonce=1))
    s.turn(s.transfer(1, 2, 1))
    s.life.checkpoint()
    s.turn(s.transfer(1, 2, 2))
    s.turn(s.transfer(0, 1, 4, nonce=4))
    s.life.checkpoint()
    s.kill()
    s.life.checkpoint()
    s.turn(s.transfer(1, 2, 3))
    s.stop()
    s.turn(s.transfer(0, 1, 0, nonce=0), wait_mined=True)
    s.stop()
    s.turn(s.transfer(0, 1, 3, nonce=3))
    s.nonces[0] = 5
    s.life.checkpoint()
    s.turn(s.transfer(0, 1, 5))


def replacement(s: Script) -> None:
    s.control("automine", False)
    s.turn(s.transfer(0, 1, 1), s.transfer(0, 1, 2))
    s.turn(s.transfer(0, 1, 100, nonce=0, cap=30 * GWEI, tip=2 * GWEI))
    s.turn(s.transfer(0, 1, 200, nonce=1, cap=21 * GWEI, tip=GWEI))  # pays too little more
    assert isinstance(s.life.record.asks[-1].answer, Exception)
    # Account 4 cannot pay for the second: it is dropped at sealing, the third waits on, another second comes.
    s.turn(
        s.transfer(4, 1, GENESIS_BALANCE - ETHER),
        s.transfer(4, 1, 2 * ETHER, may_be_dropped=True),
        s.transfer(4, 1, 3),
    )
    s.life.freeze(s.life.mine())
    s.turn(s.transfer(4, 1, 4, nonce=1))
    s.life.write_frozen()
    s.turn(s.transfer(5, 1, 1, nonce=3), s.transfer(5, 1, 2, nonce=3, cap=40 * GWEI, tip=3 * GWEI))
    s.kill()
    s.life.turn(s.life.submit(s.transfer(0, 1, 9), wait_mined=True), s.life.mine())
    s.control("automine", True)
    assert len(s.life.pool) == 1
    s.turn(s.transfer(5, 1, 0), s.transfer(5, 1, 1), s.transfer(5, 1, 2))


def intervals(s: Script) -> None:
    s.life.turn(s.life.control("automine", False), s.life.control("interval_milliseconds", 2000))
    s.turn(s.transfer(0, 1, 1), s.transfer(1, 2, 2, tip=2 * GWEI))
    s.life.turn(s.life.submit(s.transfer(2, 3, 3)), s.life.mine(), s.life.submit(s.transfer(0, 1, 4)))
    s.life.turn(s.life.mine(3, 12))
    s.turn(s.transfer(3, 0, 1), s.transfer(3, 0, 2))
    s.life.checkpoint()
    s.kill()
    s.life.turn(s.life.mine())
    s.turn(s.transfer(3, 0, 4))
    s.life.turn(s.life.mine(2))
    s.life.index()
    s.life.turn(s.life.control("automine", True), s.life.submit(s.transfer(0, 3, 5), wait_mined=True))


def commands(s: Script) -> None:
    s.life.turn(s.life.control("time_offset_seconds", 3600), s.life.control("coinbase", BENEFICIARY))
    s.turn(s.transfer(0, 1, 1))
    s.life.turn(s.life.control("next_timestamp", 1_800_000_000), s.life.mine())
    s.life.checkpoint()
    s.stop()
    assert s.life.store.head.timestamp == 1_800_000_000
    s.keep(3, b"x" * 900)
    s.control("automine", False)
    s.turn(s.transfer(1, 0, 2), s.transfer(2, 0, 3, gas=9_000_000))
    s.keep(3, None)
    s.life.turn(s.life.control("gas_limit", 8_000_000), s.life.mine(2))
    s.turn(s.transfer(0, 2, 1, tip=0))
    s.life.checkpoint()
    s.kill()
    s.life.turn(s.life.mine())
    s.life.turn(s.life.control("gas_limit", 10_000_000), s.life.control("automine", True))
    s.control("interval_milliseconds", 500)


def checkpoints(s: Script) -> None:
    for number in range(4):
        s.turn(s.transfer(number, 4, number), s.transfer(number, 5, ETHER))
        s.keep(number % 3 + 1, None if number == 3 else b"session %d" % number)
        s.life.checkpoint()
        if number % 2:
            s.life.index()
            s.kill()
    s.life.checkpoint()
    s.life.turn(s.life.mine())
    s.stop()
    s.stop()
    s.turn(s.transfer(5, 0, 1), wait_mined=True)


def late_checkpoints(s: Script) -> None:
    owner = word(ACCOUNTS[0])
    s.turn(s.create(0, token(), slots=(((FIRST, owner), 1_000_000),)))
    s.life.freeze(s.life.submit(token_units(s, FIRST, 0, 1, 5)))
    s.turn(token_units(s, FIRST, 0, 2, 6), s.transfer(5, 0, 1, nonce=1))
    s.turn(token_units(s, FIRST, 1, 2, 2))
    s.life.index()
    s.keep(1, b"between freezing and writing")
    s.life.write_frozen()
    s.life.freeze(s.life.submit(s.transfer(3, 0, 1)), s.life.keep(2, b"frozen with it"))
    s.keep(2, None, commit=False)
    s.turn(token_units(s, FIRST, 2, 1, 1), commit=False)
    s.life.write_frozen()
    s.life.freeze()
    s.turn(s.transfer(5, 0, 7, nonce=0))
    s.life.index()
    s.life.write_frozen()
    s.turn(token_units(s, FIRST, 1, 0, 1))


def rotation(s: Script) -> None:
    s.turn(s.create(0, token(), slots=(((FIRST, word(ACCOUNTS[0])), 1_000_000),)))
    for number in range(9):
        units = token_units(s, FIRST, 0, number % 4 + 1, number + 1)
        s.turn(
            units,
            s.transfer(1, 2, number, nonce=number),
            *(s.transfer(2, 3, number * 9 + i) for i in range(6)),
        )
        s.keep(number % 2 + 1, b"%d" % number * 700)
        if number % 3 == 1:
            s.compress()
        if number % 3 == 2:
            s.life.checkpoint()
    s.life.index()
    s.stop()
    s.turn(token_units(s, FIRST, 1, 0, 1), wait_mined=True)


def groups(s: Script) -> None:
    s.turn(s.transfer(0, 1, 1), commit=False)
    s.turn(s.transfer(0, 2, 2), s.transfer(0, 3, 9, nonce=7), wait_mined=False, commit=False)
    s.life.turn(s.life.mine(3), s.life.submit(s.transfer(1, 0, 3), wait_mined=True), commit=False)
    s.life.commit()
    s.turn(*(s.transfer(account, 0, 100 + account) for account in range(6)), commit=False)
    s.keep(1, b"in flight", commit=False)
    s.life.turn(s.life.keep(1, b"in flight, again"), s.life.keep(2, b"another"), commit=False)
    s.life.turn(s.life.control("automine", False), s.life.submit(s.transfer(2, 0, 5)), commit=False)
    s.life.commit()
    s.kill()
    s.turn(s.transfer(2, 1, 6), commit=False)
    s.life.turn(s.life.mine(2), commit=False)
    s.life.commit()
    s.stop()
    s.life.turn(s.life.control("automine", True), s.life.submit(s.transfer(4, 1, 1)))


TOKEN_SLOTS = tuple((FIRST, word(account)) for account in ACCOUNTS[:4])
OZ = create_address(ACCOUNTS[0], 3)
OZ_SLOTS = (*((OZ, mapping_slot(account, 0)) for account in ACCOUNTS[:3]), (OZ, 2))

WITH_DELTAS = {"deltas": Deltas.ON}
"""Every block's outcome is in the log, and replayed without executing it."""

WORKLOADS: dict[str, Workload] = {
    "transfers": Workload(transfers),
    "tokens": Workload(tokens, (FIRST, OZ), TOKEN_SLOTS + OZ_SLOTS, WITH_DELTAS),
    "creations": CREATIONS,
    "reverts and refusals": Workload(reverts, (FIRST, create_address(ACCOUNTS[2], 1)), ((FIRST, 0),)),
    "nonce gaps": Workload(gaps),
    "replacement": Workload(replacement),
    "intervals": Workload(intervals),
    "commands": Workload(commands, (BENEFICIARY,)),
    "checkpoints": Workload(checkpoints, options={"retention_blocks": 2, **WITH_DELTAS}),
    "late checkpoints": Workload(late_checkpoints, (FIRST,), TOKEN_SLOTS),
    "rotation and retention": Workload(rotation, (FIRST,), TOKEN_SLOTS, {"retention_blocks": 3, **WITH_DELTAS}),
    "groups": Workload(groups, options=WITH_DELTAS),
}
