"""The reverse proxy: listener, hand-off, and the strict proxied path."""
