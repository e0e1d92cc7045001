"""One worker: how it is started, watched, measured and replaced."""
