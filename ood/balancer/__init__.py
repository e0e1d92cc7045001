"""The L4 balancer: services and servers on Linux IPVS or on a userspace relay."""
