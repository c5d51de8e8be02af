"""Mutations of state tests: another fork, odd transactions, accounts, blocks and code."""

from __future__ import annotations

import random

from chain.forks import Fork
from node.conformance.state_case import environment_of
from tests.differential.precompile_inputs import precompile_input
from tests.differential.programs import CONTRACTS, EDGES, calldata, random_case, write_program
from tests.differential.state_cases import NETWORKS, StateCase, encoded, network_of
from tests.differential.transaction_mutations import MAX64, TransactionMutation, hexed
from tests.differential.wire_mutations import mutated_wire

MOST_GAS = 3_000_000
"""Gas limits are mostly cut to it: the specification runs slowly."""


LAST_PRECOMPILE = 0x100
"""Nobody has the key of a precompile's account: it never delegates. EELS would run the delegate's code, zvmd runs the
precompile."""


class Mutation(TransactionMutation):
    """One case being changed."""

    # The state before

    def sender_code(self) -> None:
        codes = ("0x00", "0xef0100" + self.somebody()[2:], "0xef0100" + self.somebody()[2:], "0xef01", "0xfe")
        self.account(self.sender)["code"] = self.chance.choice(codes)

    def odd_account(self) -> None:
        """A precompile with a balance or code, an account that exists without anything, a delegated one."""
        address = self.somebody()
        account = self.account(address)
        kind = self.chance.random()
        if kind < 0.3 and self.fork < Fork.SPURIOUS_DRAGON:
            account.update(nonce="0x0", balance="0x0", code="0x", storage={})
        elif kind < 0.5 and int(address, 16) > LAST_PRECOMPILE:
            account.update(code="0xef0100" + self.somebody()[2:])
        elif kind < 0.7:
            account.update(code="0x" + self.program().hex())
        else:
            account.update(balance=hexed(self.chance.choice((1, 10**18, 2**255))))

    def no_empty_accounts(self) -> None:
        """From EIP-161 on there are none (EIP-7523); EELS' later forks no longer clear those that are touched."""
        if self.fork >= Fork.SPURIOUS_DRAGON:
            empty = [
                address
                for address, account in self.pre.items()
                if account["code"] == "0x" and not int(account["nonce"], 16) | int(account["balance"], 16)
            ]
            for address in empty:
                del self.pre[address]

    def repair(self) -> None:
        """Mostly mend what would have the transaction refused before anything of it is run."""

        def mends() -> bool:
            return self.chance.random() < MENDED

        needs = (("authorizationList", Fork.PRAGUE), ("blobVersionedHashes", Fork.CANCUN))
        for name, since in needs:
            if name in self.tx and self.fork < since and mends():
                del self.tx[name]
                self.tx.pop("maxFeePerBlobGas", None)
        if "maxFeePerGas" in self.tx and self.fork < Fork.LONDON and mends():
            self.tx["gasPrice"] = self.tx.pop("maxFeePerGas")
            del self.tx["maxPriorityFeePerGas"]
        if "accessLists" in self.tx and self.fork < Fork.BERLIN and mends():
            del self.tx["accessLists"]
        sender = self.account(self.sender)
        if sender["code"] != "0x" and not sender["code"].startswith("0xef0100") and mends():
            sender["code"] = "0x"
        if self.tx["nonce"] != sender["nonce"] and mends():
            self.tx["nonce"] = sender["nonce"]
        price = next(name for name in ("gasPrice", "maxFeePerGas") if name in self.tx)
        base = environment_of(self.case, network_of(self.case)).base_fee
        if int(self.tx[price], 16) < base and mends():
            self.tx[price] = hexed(base + 1)

    def funds(self) -> None:
        """Mostly enough."""
        need, balance = self.need(), int(self.account(self.sender)["balance"], 16)
        if need is not None and balance < need < 2**255 and self.chance.random() < MENDED:
            self.account(self.sender)["balance"] = hexed(need + 10**9)

    def storage(self) -> None:
        account = self.account(self.somebody())
        if account["code"] == "0x" and account["nonce"] == "0x0":
            account["nonce"] = "0x1"
        for _ in range(self.chance.randrange(1, 4)):
            account["storage"][hexed(self.chance.randrange(4))] = hexed(self.chance.choice((1, 2, 2**256 - 1)))

    def code(self) -> None:
        """Flip, splice or replace code of a contract."""
        named = [name for name, entry in self.pre.items() if len(entry["code"]) > 2]
        if not named:
            return
        to = self.tx["to"].lower()
        name = next((n for n in named if n.lower() == to and self.chance.random() < 0.6), self.chance.choice(named))
        code = bytearray.fromhex(self.pre[name]["code"][2:])
        kind = self.chance.random()
        at = self.chance.randrange(len(code))
        if kind < 0.35:
            for _ in range(self.chance.randrange(1, 4)):
                code[self.chance.randrange(len(code))] = self.chance.choice(ODD_OPCODES)
        elif kind < 0.5:
            code[at:at] = bytes.fromhex("73" + self.somebody()[2:])
        elif kind < 0.65:
            number = self.chance.choice(EDGES)
            code[at:at] = b"\x7f" + number.to_bytes(32, "big")
        elif kind < 0.75:
            del code[at : at + self.chance.randrange(1, 33)]
        elif kind < 0.85:
            code[at:at] = self.program()
        elif kind < 0.95:
            others = [entry["code"] for entry in self.other["pre"].values() if len(entry["code"]) > 2]
            code = bytearray.fromhex(self.chance.choice(others)[2:]) if others else code
        else:
            code = bytearray(self.program())
        self.pre[name]["code"] = "0x" + code[:24_576].hex()

    # The block

    def block(self) -> None:
        chance, env = self.chance, self.env
        kind = chance.randrange(8)
        if kind == 0:
            env["currentBaseFee"] = hexed(chance.choice((0, 1, 7, 10**9, 2**64)))
        elif kind == 1:
            env["currentExcessBlobGas"] = hexed(chance.choice((0, 1, 10**6, 2**24, 10**8, 2 * 10**8)))
        elif kind == 2:
            env["currentRandom"] = "0x" + chance.randbytes(32).hex()
        elif kind == 3:
            env["currentTimestamp"] = hexed(chance.choice((0, 1, 2**32, MAX64)))
        elif kind == 4:
            env["currentNumber"] = hexed(chance.choice((1, 2, 255, 256, 257, 300, 2**32)))
        elif kind == 5:
            env["currentGasLimit"] = hexed(chance.choice((21_000, 5_000, 100_000, 2**24, 2**40, 2**63 - 1)))
        elif kind == 6:
            env["currentCoinbase"] = self.somebody()
        else:
            env["currentDifficulty"] = hexed(chance.choice((0, 1, 2**64, 2**200)))

    def wire(self) -> None:
        """Other bytes than the fields give; ``expectException`` keeps the reader from comparing them."""
        raw = encoded(self.case)
        if raw is not None:
            (expected,) = self.case["post"][network_of(self.case)]
            expected["txbytes"] = "0x" + mutated_wire(self.chance, raw).hex()
            expected["expectException"] = "unknown"

    def programs(self) -> None:
        """Four contracts of the program fuzz, one of them called."""
        chance = self.chance
        codes = random_case(chance.randrange(2**40)).codes if chance.random() < 0.3 else []
        for place, name in enumerate(CONTRACTS):
            code = codes[place] if codes else write_program(chance, self.fork.name, chance.randrange(3, 20)).hex()
            balance = hexed(chance.choice((0, 5, 10**18)))
            self.account("0x" + name).update(code="0x" + code, nonce="0x1", balance=balance)
        self.tx["to"] = "0x" + chance.choice(CONTRACTS[:2])
        self.tx["data"] = ["0x" + calldata(chance).hex()]

    # Precompiles

    def precompile(self) -> None:
        """A contract that hands its calldata to a precompile and keeps what comes back."""
        chance = self.chance
        place, data = precompile_input(chance)
        gas = chance.choice(("5a", "5a", "5a", "61ffff", "610bb8"))
        code = f"366000600037610200610300366000600061{place:04x}{gas}f1600055"
        if self.fork >= Fork.BYZANTIUM:
            code += "3d6001553d600060003e3d6000206002553d6000a0"
        code += "610300516003556103205160045561034051600555"
        target = "0x" + "c7" * 20
        self.account(target).update(code="0x" + code, nonce="0x1")
        self.tx["to"] = target if chance.random() < 0.9 else "0x" + place.to_bytes(20, "big").hex()
        self.tx["data"] = ["0x" + data.hex()]
        self.tx["gasLimit"] = [hexed(chance.choice((200_000, 500_000, 1_000_000, 3_000_000)))]


ODD_OPCODES = bytes.fromhex(
    "000102030405060708090a0b101a1b1c1d1e20303132333435363738393a3b3c3d3e3f40414243444546474849"
    "4a505152535455565758595a5b5c5d5e5f60617f808f909fa0a4f0f1f2f3f4f5fafdfeff"
)

WEIGHTS = {
    "gas": 3,
    "kind": 2,
    "fees": 2,
    "value": 1.5,
    "data": 3,
    "recipient": 1.5,
    "access_list": 1.5,
    "blobs": 1.5,
    "authorizations": 2.5,
    "nonce": 0.7,
    "creation": 1.5,
    "sender_code": 0.7,
    "odd_account": 1.5,
    "storage": 1.5,
    "code": 6,
    "block": 2,
    "precompile": 1.5,
    "programs": 2.5,
}
"""How often each mutation is made."""
ANOTHER_FORK = 0.6
MENDED = 0.92
WIRE = 0.12
"""Share of transactions whose bytes are changed after they were signed."""


def mutated(
    chance: random.Random, case: StateCase, other: StateCase, networks: tuple[str, ...] = NETWORKS
) -> StateCase:
    """The case with one to four mutations under one of the forks; ``other`` lends data and code."""
    mutation = Mutation(chance, case, other)
    if int(mutation.tx["gasLimit"][0], 16) > MOST_GAS and chance.random() < 0.95:
        mutation.tx["gasLimit"] = [hexed(chance.choice((MOST_GAS, MOST_GAS // 3)))]
    if chance.random() < ANOTHER_FORK or network_of(case) not in networks:
        mutation.set_fork(chance.choice(networks))
    for name in chance.choices(list(WEIGHTS), list(WEIGHTS.values()), k=chance.choice((1, 1, 2, 2, 3, 4))):
        getattr(mutation, name)()
    mutation.repair()
    if chance.random() < 0.1:
        mutation.exact_balance()
    mutation.funds()
    mutation.no_empty_accounts()
    if chance.random() < WIRE:
        mutation.wire()
    return mutation.case
