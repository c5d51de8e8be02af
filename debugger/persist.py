"""A session as plain data: everything needed to restore the same position and the same state anywhere."""

from __future__ import annotations

import msgspec

from chain.hashing import keccak256
from chain.state import EMPTY_CODE_HASH, BlockHashes, StateReader
from chain.types import UINT64_MAX
from debugger.base_state import Witness, WitnessState
from debugger.breakpoints import Breakpoint, Condition
from debugger.edits import Edit
from debugger.errors import (
    SessionDiverged,
    SessionFileMalformed,
    SessionFileTooLarge,
    SessionStateMismatch,
    StepOutOfRange,
)
from debugger.events import Branch
from debugger.limits import (
    BRANCHES,
    BREAKPOINTS,
    EDITS,
    EXPORT_STEPS,
    KEYFRAME_BYTES,
    NAME_CHARACTERS,
    REPLAY_STEPS,
    TAGS,
)
from debugger.program import Program
from debugger.session import Session
from debugger.slices import Slices, finish
from debugger.timeline import Clock
from vm.block import VM_FINGERPRINT
from vm.machine import Machine

RECORD_VERSION = 1


class SessionRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A session without its keyframes, which a replay makes again."""

    version: int
    name: str
    tags: tuple[str, ...]
    engine: str
    """`vm.block.VM_FINGERPRINT` of the engine that took the digest."""
    program: Program
    witness: Witness
    """The entries of the base state that the run has read."""
    witness_root: bytes
    """`Witness.root`."""
    branches: tuple[Branch, ...]
    branch: int
    position: int
    """Steps."""
    digest: bytes
    """Digest of the state at the position."""
    breakpoints: tuple[Breakpoint, ...]
    breakpoint_ids: int
    is_running: bool = False
    """Kept for the format: a stored session does not run."""


def record_of(session: Session) -> SessionRecord:
    """The session's record. It holds what the session has read so far (see `complete_witness`)."""
    witness = session.base.witness()
    return SessionRecord(
        RECORD_VERSION,
        session.name,
        session.tags,
        VM_FINGERPRINT,
        session.program,
        witness,
        witness.root(),
        tuple(branch for _, branch in sorted(session.branches.items())),
        session.branch,
        session.step_index,
        session.digest(),
        tuple(point for _, point in sorted(session.breakpoints.items())),
        session.breakpoint_ids,
    )


def complete_witness(session: Session, limit: int = EXPORT_STEPS) -> Slices[bool]:
    """Follow every branch to its end so that the record holds all they read; whether all ends were reached.

    In slices: others may work after every ``yield``.
    """
    is_complete = True
    for branch in tuple(session.branches.values()):
        timeline = session.clone_of(branch)
        try:
            yield from timeline.advance(limit)
            is_complete &= timeline.outcome is not None
        finally:
            timeline.close()
    return is_complete


def restore(
    record: SessionRecord,
    machine: Machine,
    base: StateReader | None = None,
    block_hash: BlockHashes | None = None,
    keyframe_bytes: int = KEYFRAME_BYTES,
) -> Session:
    """The session of a record, replayed to its position.

    Without ``base`` the record's own witness is the base state. Raises `SessionDiverged` if the replay does not
    give the recorded state.
    """
    return finish(restore_slices(record, machine, base, block_hash, keyframe_bytes))


def restore_slices(
    record: SessionRecord,
    machine: Machine,
    base: StateReader | None = None,
    block_hash: BlockHashes | None = None,
    keyframe_bytes: int = KEYFRAME_BYTES,
    clock: Clock | None = None,
) -> Slices[Session]:
    """`restore` in slices: others may work after every ``yield``."""
    check_record(record)
    if base is None:
        state = WitnessState(record.witness)
        base, block_hash = state, state.block_hash
    session = Session(
        record.program,
        machine,
        base,
        block_hash,
        name=record.name,
        tags=record.tags,
        keyframe_bytes=keyframe_bytes,
        clock=clock,
    )
    try:
        session.branches = {branch.id: branch for branch in record.branches}
        session.put_breakpoints(record.breakpoints, record.breakpoint_ids)
        session.switch(record.branch)
        yield from session.timeline.seeking(record.position)
        if not session.is_at(record.digest):
            raise SessionDiverged(f"step {record.position} has another state than {record.engine} recorded")
    except StepOutOfRange as error:
        session.close()
        raise SessionDiverged(str(error)) from None
    except BaseException:
        session.close()
        raise
    session.base.know(record.witness)
    return session


def encode_record(record: SessionRecord) -> bytes:
    """As MessagePack; equal records give equal bytes."""
    return msgspec.msgpack.encode(record, order="deterministic")


def decode_record(data: bytes) -> SessionRecord:
    """Raises `SessionFileMalformed`."""
    try:
        return msgspec.msgpack.decode(data, type=SessionRecord)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SessionFileMalformed(str(error)[:300]) from None


def check_record(record: SessionRecord) -> None:
    """Check all that needs no execution: versions, limits, references, roots and hashes.

    Raises `SessionFileMalformed`, `SessionStateMismatch`, `InvalidProgram`, `InvalidBreakpoint`.
    """
    if record.version != RECORD_VERSION:
        raise SessionFileMalformed(f"record version {record.version}")
    if len(record.branches) > BRANCHES or len(record.breakpoints) > BREAKPOINTS or len(record.tags) > TAGS:
        raise SessionFileMalformed("too many branches, breakpoints or tags")
    if any(len(text) > NAME_CHARACTERS for text in (record.name, record.engine, *record.tags)):
        raise SessionFileMalformed("a name is too long")
    if record.position > REPLAY_STEPS:
        raise SessionFileTooLarge(f"at step {record.position}; {REPLAY_STEPS} are replayed at most")
    if record.position < 0 or len(record.digest) != 32:
        raise SessionFileMalformed("position or digest out of range")
    _check_branches(record)
    ids = [point.id for point in record.breakpoints]
    if sorted(set(ids)) != ids or (ids and ids[0] < 1) or not max(ids, default=0) <= record.breakpoint_ids <= 2**53:
        raise SessionFileMalformed("breakpoint ids are not ascending")
    for point in record.breakpoints:
        Condition(point)
    record.program.launch()
    _check_witness(record.witness, record.witness_root)


def _check_branches(record: SessionRecord) -> None:
    seen: set[int] = set()
    for branch in record.branches:
        is_root = branch.id == 0 and branch.parent is None and not branch.edits and branch.step == 0
        is_child = branch.id > max(seen, default=-1) >= 0 and branch.parent in seen
        if not (is_root and not seen) and not is_child:
            raise SessionFileMalformed("branches are not a tree in order")
        if len(branch.edits) > EDITS or len(branch.name) > NAME_CHARACTERS or not _ascend(branch.edits):
            raise SessionFileMalformed("edits are too many or not in order")
        seen.add(branch.id)
    if record.branch not in seen:
        raise SessionFileMalformed("the current branch is not one of the branches")


def _ascend(edits: tuple[Edit, ...]) -> bool:
    steps = [edit.step for edit in edits]
    return steps == sorted(steps) and (not steps or steps[0] >= 0)


def _check_witness(witness: Witness, root: bytes) -> None:
    """Check that it is canonical, and has the root and code hashes that it states."""
    addresses = [account.address for account in witness.accounts]
    if sorted(set(addresses)) != addresses or any(len(address) != 20 for address in addresses):
        raise SessionFileMalformed("witness accounts are not ascending addresses")
    codes = {keccak256(code) for code in witness.codes}
    if len(codes) != len(witness.codes):
        raise SessionFileMalformed("a code is there twice")
    for account in witness.accounts:
        keys = [key for key, _ in account.slots]
        numbers = [int.from_bytes(key, "big") for key in keys]
        words = (*keys, *(value for _, value in account.slots), account.balance)
        if any(len(word) > 32 or word[:1] == b"\0" for word in words):
            raise SessionFileMalformed("a witness number is not minimal or too long")
        if sorted(set(numbers)) != numbers or not 0 <= account.nonce <= UINT64_MAX:
            raise SessionFileMalformed("witness slots are not ascending, or a nonce is out of range")
        if len(account.code_hash) != 32:
            raise SessionFileMalformed("a code hash is not 32 bytes")
        if account.exists and account.code_hash != EMPTY_CODE_HASH and account.code_hash not in codes:
            raise SessionStateMismatch(f"code of 0x{account.address.hex()} is missing or has another hash")
    for number, value in witness.block_hashes:
        if not 0 <= number <= UINT64_MAX or len(value) != 32:
            raise SessionFileMalformed("a block hash is out of range")
    if witness.root() != root:
        raise SessionStateMismatch("the witness has another state root than the file says")
