"""Runs block tests: a genesis, blocks to accept or refuse, and the head and state they must lead to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from chain.blocks import Block, decode_block
from chain.body_rules import UNCLE_GENERATIONS, check_size
from chain.errors import InvalidBlock, InvalidRlp, InvalidTransaction, ZvmdError
from chain.forks import ChainConfig
from chain.types import ZERO_HASH, Hash32
from node.conformance.errors import VectorsUnreadable
from node.conformance.memory_state import MemoryState
from node.conformance.networks import Merge, config_of, merge_of
from node.conformance.refusals import explains
from node.conformance.running import INTERPRETED, CaseResult, MachineChoice, Selection, cases_of, run_files
from node.conformance.vectors import VectorFile
from vm.evm.jit.metrics import Metrics
from vm.importing import import_block
from vm.machine import Machine


class CaseFailed(Exception):
    """The result of a case differs from the expected one."""


@dataclass(frozen=True, slots=True)
class Known:
    """A block that was accepted."""

    block: Block
    state: MemoryState
    total_difficulty: int


class BlockTree:
    """All blocks of a case, side chains included, and the head among them."""

    def __init__(
        self,
        machine: Machine,
        config: ChainConfig,
        genesis: Block,
        state: MemoryState,
        merge: Merge | None = None,
    ) -> None:
        self.config = config
        self.merge = merge
        self.head = Known(genesis, state, genesis.header.difficulty)
        self._machine = machine
        self._known = {genesis.hash: self.head}

    def add(self, raw: bytes) -> Block:
        """Import an encoded block. Raises `InvalidRlp`, `InvalidBlock` or `InvalidTransaction`."""
        block = decode_block(raw)
        header = block.header
        check_size(len(raw), self.config.fork_at(header.number, header.timestamp))
        parent = self._known.get(header.parent_hash)
        if parent is None:
            raise InvalidBlock(f"its parent 0x{header.parent_hash.hex()} is not known")
        config = self.config
        if self.merge is not None and parent.total_difficulty >= self.merge.total_difficulty:
            config = self.merge.config
        ancestors = self._ancestors(parent.block)
        result = import_block(
            self._machine,
            config,
            block,
            ancestors,
            parent.state,
            self._hashes_before(parent.block),
            parent.state.root_after,
        )
        known = Known(block, parent.state.after(result.delta), parent.total_difficulty + header.difficulty)
        self._known[block.hash] = known
        # Proof of work: the heaviest chain, the first of equals. After the merge the tests mean the last block.
        if known.total_difficulty > self.head.total_difficulty or not header.difficulty:
            self.head = known
        return block

    def _ancestors(self, block: Block) -> list[Block]:
        ancestors = [block]
        while len(ancestors) < UNCLE_GENERATIONS:
            parent = self._known.get(ancestors[-1].header.parent_hash)
            if parent is None:
                break
            ancestors.append(parent.block)
        return ancestors

    def _hashes_before(self, parent: Block) -> _Hashes:
        return _Hashes(self._known, parent)


class _Hashes:
    """Block hashes by number along one chain, computed on demand."""

    def __init__(self, known: dict[Hash32, Known], parent: Block) -> None:
        self._known = known
        self._next = parent.hash
        self._lowest = parent.header.number + 1
        self._found: dict[int, Hash32] = {}

    def __call__(self, number: int) -> Hash32:
        while number < self._lowest and (entry := self._known.get(self._next)) is not None:
            self._lowest -= 1
            self._found[self._lowest] = self._next
            self._next = entry.block.header.parent_hash
        return self._found.get(number, ZERO_HASH)


class BlockTestRunner:
    """Runs block tests on one machine."""

    def __init__(self, choice: MachineChoice = INTERPRETED) -> None:
        """Raises `EngineUnavailable`."""
        self.machine = Machine(choice.parts())

    def run_file(self, file: VectorFile, selection: Selection) -> Iterator[CaseResult]:
        """All selected cases of a file, in its order. Raises `VectorsUnreadable`."""
        wanted = selection.pattern()
        for case_name, case in cases_of(file).items():
            if not case.keys() >= {"network", "pre", "blocks", "genesisRLP", "lastblockhash"}:
                raise VectorsUnreadable(f"{file.name}: {case_name} is not a block test")
            network = case["network"]
            name = f"{file.name}::{case_name}[{network}]"
            if selection.fork is not None and selection.fork.lower() != network.lower():
                continue
            if wanted is None or wanted.search(name):
                yield self._run_case(name, network, case)

    def _run_case(self, name: str, network: str, case: dict[str, Any]) -> CaseResult:
        result = CaseResult(name, network, passed=False, want_root=case["lastblockhash"])
        try:
            chain = self._start(network, case)
            for index, entry in enumerate(case["blocks"]):
                _import_entry(chain, index, entry)
            result.got_root = "0x" + chain.head.block.hash.hex()
            _check_end(chain.head, case)
        except (CaseFailed, ZvmdError) as error:
            result.error = str(error)
        except Exception as error:
            # A bug of ours in one case must not hide the results of the others.
            result.error = f"{type(error).__name__}: {error}"
        else:
            result.passed = True
        return result

    def _start(self, network: str, case: dict[str, Any]) -> BlockTree:
        try:
            config = config_of(network, case.get("config", {}))
        except KeyError:
            raise CaseFailed(f"network {network} is not known") from None
        genesis = decode_block(_bytes(case["genesisRLP"]))
        state = MemoryState.from_json(case["pre"])
        if state.root() != genesis.header.state_root:
            raise CaseFailed("the state root of the genesis differs")
        if genesis.hash != _bytes(case["genesisBlockHeader"]["hash"]):
            raise CaseFailed("the hash of the genesis differs")
        return BlockTree(self.machine, config, genesis, state, merge_of(network, case.get("config", {})))


def _import_entry(chain: BlockTree, index: int, entry: dict[str, Any]) -> None:
    """Import one block of a case, or check that it is refused for the expected reason."""
    expected = entry.get("expectException")
    try:
        block = chain.add(_bytes(entry["rlp"]))
    except (InvalidBlock, InvalidTransaction, InvalidRlp) as error:
        if expected is None:
            raise CaseFailed(f"block {index} refused: {error.code}: {error}") from None
        if not explains(expected, error):
            raise CaseFailed(f"block {index} refused by {error.code}: {error}; expected {expected}") from None
        return
    if expected is not None:
        raise CaseFailed(f"block {index} accepted, but expected {expected}")
    if "blockHeader" in entry and block.hash != _bytes(entry["blockHeader"]["hash"]):
        raise CaseFailed(f"block {index} has another hash")


def _check_end(head: Known, case: dict[str, Any]) -> None:
    if head.block.hash != _bytes(case["lastblockhash"]):
        raise CaseFailed("another block is the head")
    if "postStateHash" in case and head.block.header.state_root != _bytes(case["postStateHash"]):
        raise CaseFailed("the state root of the head differs")
    if case.get("postState"):
        expected = MemoryState.from_json(case["postState"])
        if (head.state.accounts, head.state.slots) != (expected.accounts, expected.slots):
            raise CaseFailed("the state of the head differs")


def _bytes(text: str) -> bytes:
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raise CaseFailed(f"not hex: {text[:40]}") from None


def run_block_tests(
    files: Iterable[VectorFile],
    selection: Selection,
    *,
    choice: MachineChoice = INTERPRETED,
    jobs: int = 1,
    did: Metrics | None = None,
) -> Iterator[CaseResult]:
    """All selected cases, in order. What the JIT did is added to ``did``.

    Raises `EngineUnavailable`, `VectorsUnreadable`.
    """
    return run_files(BlockTestRunner, files, selection, choice=choice, jobs=jobs, did=did)
