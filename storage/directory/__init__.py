"""The data directory itself: its names, its locks, its FORMAT stamp and its genesis."""
