"""Decisions and messages of the balancer, without I/O."""
