"""Machines, and what they need of the operating system: files, a process that compiles, guarded memory."""
