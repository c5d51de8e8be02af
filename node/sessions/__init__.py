"""Debug sessions in a running node: base states, access, sharing, and persistence."""
