"""Decisions and messages of the process monitor, without I/O."""
