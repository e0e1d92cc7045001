"""Tests by package, as ``ood/`` has them; ``tests/integration`` runs the whole service."""

from hypothesis import HealthCheck, settings

# A machine that is busy with other things is slow, and that is no failure.
settings.register_profile("ood", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ood")
