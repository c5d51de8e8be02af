"""Running the official test vectors: `zvmd statetest`."""
