"""The life of the daemon: opening the data directory, listening, periodic work, stopping."""
