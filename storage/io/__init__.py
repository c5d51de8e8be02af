"""What every store needs of the machine: files, locks, LevelDB, checksums, and what a failing call means."""
