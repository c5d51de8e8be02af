"""Errors of the machine itself. What programs do wrong is no error: it is an `vm.message.Halt`.

    ZvmdError
    └── VmError
        ├── NativeCodeUnavailable   vm.native
        └── SnapshotInvalid         vm.snapshot
"""

from __future__ import annotations

from chain.errors import ZvmdError


class VmError(ZvmdError):
    """The machine cannot do what was asked."""

    code = "vm.error"


class NativeCodeUnavailable(VmError):
    """The interpreter could not be built for this computer."""

    code = "vm.native"
    hint = "zvmd needs a 64-bit CPU that llvmlite supports; report the text of this error"


class SnapshotInvalid(VmError):
    """Bytes are not a frame snapshot of this version."""

    code = "vm.snapshot"
    rpc_code = -32602
    hint = "the snapshot was made by another version or is damaged; load the program again"
