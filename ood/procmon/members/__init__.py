"""Members: what takes an app's connections.

A process that joined, a worker on Node's own cluster channel, or a TCP port.
"""
