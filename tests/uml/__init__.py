"""User-mode Linux: a real kernel with IPVS for tests, as an ordinary process."""
