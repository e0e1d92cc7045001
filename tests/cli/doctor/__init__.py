"""Tests of :mod:`ood.cli.doctor`."""
