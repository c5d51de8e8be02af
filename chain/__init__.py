"""Words of the domain: addresses, RLP, transactions, blocks, receipts, forks, fees. No I/O, no clock."""
