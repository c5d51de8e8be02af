"""Blocks, receipts and what a block changed, by number; and the fate of transactions that are in no block."""
