"""The daemon's life cycle: opening the data directory, listening, periodic work, stopping."""
