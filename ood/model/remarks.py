"""Remarks of the service that its clients know by their words; for imports that take no time."""

OLDER_SETTINGS = "runs with older settings: a restart is pending"
"""Why a worker that is online is remarkable: its app says with a command what to do about it."""
