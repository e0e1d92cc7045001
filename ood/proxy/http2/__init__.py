"""HTTP/2 for clients: sessions, connections, streams."""
