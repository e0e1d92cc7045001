"""Typed settings and apps, and the validation that names every fault at once."""
