"""Certificates against a real CA."""
