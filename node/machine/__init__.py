"""Assembles machines with what they need from the operating system: files, a compile process, guarded memory."""
