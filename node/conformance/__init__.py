"""Runs the official test vectors: `zvmd statetest`, `blocktest` and `trace`."""
