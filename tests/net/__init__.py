"""Tests of the sockets that others build on."""
