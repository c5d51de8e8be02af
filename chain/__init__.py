"""Ethereum's data types and rules: addresses, RLP, transactions, blocks, receipts, forks, fees. No I/O, no clock."""
