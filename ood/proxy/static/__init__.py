"""Apps that are just files."""
