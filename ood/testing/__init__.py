"""Helpers for tests of ood and of its plugins."""
