"""The preload that runs inside Node workers (JavaScript)."""
