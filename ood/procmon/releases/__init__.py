"""Releases of apps: made, listed, and removed."""
