"""JSON-RPC methods and the one dispatcher that every transport ends in."""
