"""Tests of the process monitor."""
