"""Errors of the daemon's start and of its listeners.

ZvmdError
├── GenesisMismatch        node.genesis_mismatch    exit 78
├── PortUnavailable        node.port                exit 69
└── Unreachable            node.unreachable         exit 69
"""

from __future__ import annotations

from chain.errors import EXIT_CONFIG, EXIT_UNAVAILABLE, ZvmdError


class GenesisMismatch(ZvmdError):
    """The data directory belongs to a chain with other parameters."""

    code = "node.genesis_mismatch"
    hint = "use another --data-dir, or start without the conflicting option"
    exit_code = EXIT_CONFIG


class PortUnavailable(ZvmdError):
    """A port the node should listen on is taken or forbidden."""

    code = "node.port"
    hint = "choose another with --http-port or --quic-port (0: any), or stop what listens there"
    exit_code = EXIT_UNAVAILABLE


class Unreachable(ZvmdError):
    """The node listens, but could not be reached from this machine when it tried before READY."""

    code = "node.unreachable"
    hint = "check the firewall, the unit's IPAddressDeny=, the loopback interface and [limits]"
    exit_code = EXIT_UNAVAILABLE
