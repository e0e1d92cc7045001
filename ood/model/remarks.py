"""Remarks of the service that its clients know by their words; for imports that take no time."""

OLDER_SETTINGS = "runs with older settings: a restart is pending"
"""Why a worker that is online is remarkable: its app says with a command what to do about it."""
HELD = "gets no requests yet: others serve"
"""Why a worker that could answer is not asked: it is spare, or waits for its turn."""
