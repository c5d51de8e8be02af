"""Errors of execution.

    ZvmdError
    ├── PrecompileUnavailable      vm.precompile_unavailable
    ├── EngineUnavailable          vm.engine
    ├── NativeCodeUnavailable      vm.native
    ├── GuardPagesUnavailable      vm.guard_pages
    ├── SnapshotInvalid            vm.snapshot
    └── InvalidBlockExecution      vm.block.*
        ├── SystemCallFailed       vm.block.system_call
        ├── SystemContractMissing  vm.block.system_contract
        └── InvalidDepositLog      vm.block.deposit
    Exception
    └── PrecompileError            the contract's input is bad: the calling frame sees a failed call

What a contract does wrong is not an error here but a `vm.message.Halt`.
"""

from __future__ import annotations

from chain.errors import InvalidBlock, ZvmdError


class PrecompileError(Exception):
    """The input of a precompiled contract is invalid: the call fails and uses all its gas.

    The message is geth's (``core/vm/contracts.go``): tracers show it as the error of the call.
    """


class PrecompileUnavailable(ZvmdError):
    """A precompiled contract's native library is not installed: the transaction cannot be executed."""

    code = "vm.precompile_unavailable"
    rpc_code = -32000
    hint = "install zvmd with all its dependencies"

    def __init__(self, name: str, address: int) -> None:
        super().__init__(f"precompile 0x{address:02x} ({name}) unavailable")
        self.name = name
        self.address = address


class EngineUnavailable(ZvmdError):
    """The requested execution engine does not exist in this build."""

    code = "vm.engine"
    rpc_code = -32602
    hint = "use --engine interpreter"


class NativeCodeUnavailable(ZvmdError):
    """The interpreter could not be built for this computer."""

    code = "vm.native"
    hint = (
        "zvmd needs a 64-bit CPU that llvmlite supports, a process to compile in, and memory it may make executable: "
        "systemd's MemoryDenyWriteExecute must be off"
    )


class GuardPagesUnavailable(ZvmdError):
    """The operating system refused to protect pages around a frame."""

    code = "vm.guard_pages"
    hint = "guard pages are for tests: unset ZVMD_GUARD_PAGES"


class SnapshotInvalid(ZvmdError):
    """Bytes are not a frame snapshot of this version."""

    code = "vm.snapshot"
    rpc_code = -32602
    hint = "the snapshot was made by another version or is damaged; load the program again"


class InvalidBlockExecution(InvalidBlock):
    """A block that no chain may contain, although each of its transactions could be executed."""

    code = "vm.block"
    hint = "the block is invalid; check the chain's genesis and system contracts"


class SystemCallFailed(InvalidBlockExecution):
    """A system contract reverted or ran out of gas."""

    code = "vm.block.system_call"


class SystemContractMissing(InvalidBlockExecution):
    """A request contract of EIP-7002 or EIP-7251 has no code."""

    code = "vm.block.system_contract"


class InvalidDepositLog(InvalidBlockExecution):
    """The deposit contract emitted an event of another layout (EIP-6110)."""

    code = "vm.block.deposit"
