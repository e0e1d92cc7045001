"""Tests that run the real service with real programs; one at a time."""
