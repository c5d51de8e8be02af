"""Mutations of a state test's transaction: odd gas, fees, data, lists, recipients, authorizations, creations."""

from __future__ import annotations

import random
from copy import deepcopy
from typing import Any

from chain.crypto import CURVE_ORDER, HALF_CURVE_ORDER, address_of_secret, create_address, sign
from chain.fees import blob_base_fee, blob_gas_of, floor_gas, intrinsic_gas
from chain.forks import Fork
from chain.transactions import Authorization
from chain.types import Address
from node.conformance.state_case import FORK_NAMES, environment_of
from tests.differential.precompile_inputs import SECRET
from tests.differential.programs import EDGES, write_program
from tests.differential.state_cases import StateCase, network_of, transaction_of_case

SECRETS = (SECRET, *(number.to_bytes(32, "big") for number in (0xA2, 0xA3, 0xA4)))
"""Of accounts that sign authorizations."""
PRECOMPILES = (*range(0x14), 0x100, 0x101)
MAX64 = 2**64 - 1


def hexed(number: int) -> str:
    """As vectors write numbers."""
    return hex(number)


def address_of(secret: bytes) -> str:
    """Account of a key."""
    return "0x" + address_of_secret(secret).hex()


AUTHORITIES = {address_of(secret): secret for secret in SECRETS}


class TransactionMutation:
    """One case whose transaction is being changed."""

    def __init__(self, chance: random.Random, case: StateCase, other: StateCase) -> None:
        """``other`` is where spliced parts come from."""
        self.chance = chance
        self.case = deepcopy(case)
        self.other = other
        self.tx: dict[str, Any] = self.case["transaction"]
        self.env: dict[str, Any] = self.case["env"]
        self.pre: dict[str, Any] = self.case["pre"]
        self.sender = address_of(int(self.tx["secretKey"], 16).to_bytes(32, "big"))

    @property
    def fork(self) -> Fork:
        return FORK_NAMES[network_of(self.case)]

    def account(self, address: str) -> dict[str, Any]:
        """An account of the state before, made if missing."""
        for name in self.pre:
            if name.lower() == address:
                return self.pre[name]
        self.pre[address] = {"nonce": "0x0", "balance": "0x0", "code": "0x", "storage": {}}
        return self.pre[address]

    def somebody(self) -> str:
        """An address that may matter."""
        kind = self.chance.random()
        if kind < 0.35 and self.pre:
            return self.chance.choice(list(self.pre)).lower()
        if kind < 0.6:
            return "0x" + self.chance.choice(PRECOMPILES).to_bytes(20, "big").hex()
        if kind < 0.75:
            return self.chance.choice((self.sender, self.env["currentCoinbase"].lower()))
        if kind < 0.9:
            return self.chance.choice(list(AUTHORITIES))
        return "0x" + self.chance.randbytes(20).hex()

    # The transaction

    def set_fork(self, network: str) -> None:
        (expected,) = self.case["post"].values()
        self.case["post"] = {network: expected}

    def gas(self) -> None:
        try:
            tx = transaction_of_case(self.case)
        except Exception:
            return
        need, floor = intrinsic_gas(tx, self.fork), floor_gas(tx, self.fork)
        more = self.chance.randrange(1, 60_000)
        limits = (need, need - 1, floor, floor - 1, max(need, floor), need + more, max(need, floor) + more, 2**24)
        limits += (2**24 + 1, int(self.env["currentGasLimit"], 16), int(self.env["currentGasLimit"], 16) + 1)
        self.tx["gasLimit"] = [hexed(max(self.chance.choice(limits), 0))]

    def kind(self) -> None:
        """Another type of transaction."""
        price = self.tx.pop("gasPrice", None) or self.tx.pop("maxFeePerGas")
        names = ("maxFeePerGas", "maxPriorityFeePerGas", "accessLists", "maxFeePerBlobGas", "blobVersionedHashes")
        for name in (*names, "authorizationList"):
            self.tx.pop(name, None)
        kind = self.chance.randrange(5)
        if kind < 2:
            self.tx["gasPrice"] = price
        else:
            self.tx["maxFeePerGas"] = price
            self.tx["maxPriorityFeePerGas"] = hexed(self.chance.choice((0, 0, 1, int(price, 16))))
        if kind == 1:
            self.access_list()
        elif kind == 3:
            self.tx["maxFeePerBlobGas"] = hexed(self.chance.choice((1, 1, 10, 0, 10**9)))
            self.tx["blobVersionedHashes"] = ["0x01" + "00" * 31]
            if self.chance.random() < 0.5:
                self.blobs()
        elif kind == 4:
            self.authorizations()

    def fees(self) -> None:
        base = environment_of(self.case, network_of(self.case)).base_fee
        prices = (0, 1, base - 1, base, base + 1, 10 * base, 2**64, 2**128, 2**256 - 1)
        names = ("gasPrice", "maxFeePerGas", "maxPriorityFeePerGas")
        name = self.chance.choice([name for name in names if name in self.tx])
        self.tx[name] = hexed(max(self.chance.choice(prices), 0))

    def value(self) -> None:
        balance = int(self.account(self.sender)["balance"], 16)
        self.tx["value"] = [hexed(self.chance.choice((0, 1, 10**9, balance, balance + 1, 2**256 - 1)))]

    def data(self) -> None:
        data = bytearray.fromhex(self.tx["data"][0][2:])
        kind = self.chance.random()
        if kind < 0.3 and data:
            for _ in range(self.chance.randrange(1, 4)):
                data[self.chance.randrange(len(data))] = self.chance.choice((0, 1, 0xFF, self.chance.randrange(256)))
        elif kind < 0.45:
            data = data[: self.chance.randrange(len(data) + 1)]
        elif kind < 0.6:
            data += self.chance.randbytes(self.chance.choice((1, 4, 31, 32, 33, 200)))
        elif kind < 0.7:
            data += bytes(self.chance.choice((1, 32, 1_000)))
        elif kind < 0.9:
            data = bytearray.fromhex(self.other["transaction"]["data"][0][2:])
        elif data:
            at = self.chance.randrange(0, len(data), 32)
            word = self.chance.choice(EDGES).to_bytes(32, "big")
            data[at : at + 32] = word
        self.tx["data"] = ["0x" + data.hex()]

    def recipient(self) -> None:
        kind = self.chance.random()
        self.tx["to"] = "" if kind < 0.15 else self.somebody()
        if kind > 0.7:
            self.env["currentCoinbase"] = self.chance.choice((self.tx["to"] or self.sender, self.sender))

    def access_list(self) -> None:
        entries = []
        for _ in range(self.chance.choice((0, 1, 2, 5, 40))):
            slots = [self.chance.choice((0, 1, 2, 2**256 - 1)) for _ in range(self.chance.choice((0, 1, 3, 20)))]
            entries.append(
                {"address": self.somebody(), "storageKeys": ["0x" + s.to_bytes(32, "big").hex() for s in slots]}
            )
        if entries and self.chance.random() < 0.4:
            entries.append(deepcopy(entries[0]))
        self.tx["accessLists"] = [entries]

    def blobs(self) -> None:
        environment = environment_of(self.case, network_of(self.case))
        price = blob_base_fee(environment.excess_blob_gas, environment.blob_schedule.base_fee_update_fraction)
        if "maxFeePerBlobGas" not in self.tx:
            return
        count = self.chance.choice((0, 1, 2, 5, 6, 7, 9, 10, 15, 16, 21, 22))
        first = self.chance.choice(("01", "01", "01", "01", "00", "02"))
        self.tx["blobVersionedHashes"] = [f"0x{first if n == 0 else '01'}{n:062x}" for n in range(count)]
        fees = (price, price, price + 1, max(price - 1, 0), 10 * price)
        self.tx["maxFeePerBlobGas"] = hexed(min(self.chance.choice(fees), 2**256 - 1))

    def authorizations(self) -> None:
        if "gasPrice" in self.tx:
            self.tx["maxFeePerGas"] = self.tx.pop("gasPrice")
            self.tx["maxPriorityFeePerGas"] = hexed(self.chance.choice((0, 0, 1)))
        for name in ("blobVersionedHashes", "maxFeePerBlobGas"):
            self.tx.pop(name, None)
        entries = self.tx.setdefault("authorizationList", [])
        if self.chance.random() < 0.05:
            entries.clear()
            return
        for _ in range(self.chance.randrange(1, 5)):
            entries.append(self.authorization())
        if self.chance.random() < 0.3:
            self.tx["to"] = self.chance.choice(list(AUTHORITIES))
        if int(self.tx["gasLimit"][0], 16) < 25_000 * len(entries) + 60_000:
            self.tx["gasLimit"] = [hexed(25_000 * len(entries) + 200_000)]

    def authorization(self) -> dict[str, str]:
        """An entry of the list, mostly good."""
        chance = self.chance
        authority = chance.choice([*AUTHORITIES, self.sender])
        secret = AUTHORITIES.get(authority) or int(self.tx["secretKey"], 16).to_bytes(32, "big")
        kind = chance.random()
        if kind < 0.3 and authority != self.sender:
            code = chance.choice(("0x", "0x", "0xef0100" + self.somebody()[2:], "0x00", "0xef0100", "0xef01"))
            nonce = chance.choice((0, 1, 5, MAX64 - 1, MAX64))
            self.account(authority).update(code=code, nonce=hexed(nonce), balance=hexed(chance.choice((0, 1))))
            if code == "0x" and not nonce:
                self.account(authority)["balance"] = "0x1"
        known = next((entry for name, entry in self.pre.items() if name.lower() == authority), None)
        nonce = 0 if known is None else int(known["nonce"], 16)
        if authority == self.sender and chance.random() < 0.7:
            nonce += 1
        if chance.random() < 0.2:
            nonce = min(nonce + chance.choice((1, 2)), MAX64)
        delegate = chance.choice((self.somebody(), self.somebody(), authority, "0x" + "00" * 20))
        chain = chance.choice((1, 1, 1, 0, 0, 2, 2**256 - 1))
        unsigned = Authorization(chain, Address(bytes.fromhex(delegate[2:])), nonce, 0, 0, 0)
        parity, r, s = sign(unsigned.signing_hash(), secret)
        kind = chance.random()
        if kind < 0.05:
            parity, s = 1 - parity, CURVE_ORDER - s
        elif kind < 0.15:
            odd = (0, 1, HALF_CURVE_ORDER, HALF_CURVE_ORDER + 1, CURVE_ORDER, 2**256 - 1)
            which = chance.randrange(3)
            parity = chance.choice((2, 27, 255)) if which == 0 else parity
            r = chance.choice(odd) if which == 1 else r
            s = chance.choice(odd) if which == 2 else s
        fields = {"chainId": chain, "nonce": nonce, "v": parity, "r": r, "s": s, "yParity": parity}
        return {"address": delegate} | {name: hexed(number) for name, number in fields.items()}

    def nonce(self) -> None:
        nonce = self.chance.choice((0, 1, 2**32, MAX64 - 1, MAX64))
        if self.chance.random() < 0.7:
            self.account(self.sender)["nonce"] = hexed(nonce)
        if self.chance.random() < 0.7:
            self.tx["nonce"] = hexed(nonce)

    def need(self) -> int | None:
        """Wei the sender must have; None of a transaction mutated until it has no encoding, which has to be refused."""
        try:
            tx = transaction_of_case(self.case)
        except Exception:
            return None
        return tx.gas_limit * tx.max_fee_per_gas + tx.value + blob_gas_of(tx) * tx.max_fee_per_blob_gas

    def exact_balance(self) -> None:
        need = self.need()
        if need is not None and need < 2**256:
            self.account(self.sender)["balance"] = hexed(max(need + self.chance.choice((0, 0, -1)), 0))

    def creation(self) -> None:
        self.tx["to"] = ""
        for name in ("authorizationList", "blobVersionedHashes", "maxFeePerBlobGas"):
            if self.chance.random() < 0.9:
                self.tx.pop(name, None)
        kind = self.chance.random()
        size = self.chance.choice((24_576, 24_577, 0, 1, 100))
        first = self.chance.choice((0x00, 0xEF, 0x60))
        returns = f"60{first:02x}600053" + f"62{size:06x}6000f3"
        code = bytes.fromhex(returns)
        if kind < 0.3:
            code = code.ljust(self.chance.choice((49_151, 49_152, 49_153)), b"\0")
        elif kind < 0.6:
            code = self.program()
        self.tx["data"] = ["0x" + code.hex()]
        if self.chance.random() < 0.2:
            place = create_address(bytes.fromhex(self.sender[2:]), int(self.tx["nonce"], 16))
            account = self.account("0x" + place.hex())
            there = ({"nonce": "0x1"}, {"balance": "0x5"}, {"code": "0x00"}, {"storage": {"0x1": "0x1"}})
            account.update(deepcopy(self.chance.choice(there)))
            if account["nonce"] == "0x0" and account["balance"] == "0x0" and account["code"] == "0x":
                account["balance"] = "0x1"

    def program(self) -> bytes:
        """Code by the writer of random programs, that calls who is there."""
        code = write_program(self.chance, self.fork.name, self.chance.randrange(2, 12))
        for marker in ("7a" * 20, "0b" * 20, "0c" * 20, "0d" * 20):
            code = code.replace(bytes.fromhex(marker), bytes.fromhex(self.somebody()[2:]))
        return code
