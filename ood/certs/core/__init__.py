"""What is decided about certificates, without I/O: which names, when, and what went wrong."""
