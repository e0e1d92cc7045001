"""Host names that mean nothing outside of a network of one's own."""

from __future__ import annotations

LOCAL_SUFFIXES = ("localhost", "local", "internal", "test", "home.arpa", "lan")
"""Names below these never leave such a network: no public DNS has them, no public CA signs
them, so ood vouches for them itself."""
