"""JSON-RPC methods and the one dispatcher that all transports use."""
