"""Durable truth: write-ahead log, checkpoints, state trie, history, index, recovery. Never imports the VM."""
