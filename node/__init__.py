"""The node: engine, JSON-RPC, QUIC, debug sessions, daemon and command line."""
