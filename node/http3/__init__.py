"""JSON-RPC over HTTP/3, on the QUIC listener: the same requests, answers and rules as over HTTP/1.1."""
