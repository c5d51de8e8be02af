"""Errors of the conformance runners.

ZvmdError
└── VectorsUnreadable      conformance.vectors
"""

from __future__ import annotations

from chain.errors import ZvmdError


class VectorsUnreadable(ZvmdError):
    """A path holds no test vectors that can be read."""

    code = "conformance.vectors"
    rpc_code = -32602
    hint = "give JSON files, folders, or .tar.xz archives of state or block tests"
