"""Words of the domain: addresses, RLP, transactions, blocks, receipts, forks, fees. Pure: no I/O, no clock."""
