"""Tests of the process monitor."""

from hypothesis import HealthCheck, settings

# A machine that does other things meanwhile is no fault of the code.
settings.register_profile("ood", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ood")
