"""The running daemon: pipeline, JSON-RPC, QUIC, jobs, command line."""
