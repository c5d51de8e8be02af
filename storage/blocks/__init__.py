"""Blocks, receipts and block deltas, by number; and the fates of transactions that are in no block."""
