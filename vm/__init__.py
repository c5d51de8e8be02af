"""Executes code: opcode table, interpreter, journal, precompiles, transactions and blocks. No files, sockets or clock."""
