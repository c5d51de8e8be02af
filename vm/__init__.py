"""Executes code: opcodes, interpreter, journal, precompiles, transactions, blocks. No files, no sockets."""
