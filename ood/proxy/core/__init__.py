"""Reading heads, routing and framing of HTTP/1.1, without I/O."""
