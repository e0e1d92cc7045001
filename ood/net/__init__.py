"""Sockets on own reactor descriptors, and file descriptors passed over them."""
