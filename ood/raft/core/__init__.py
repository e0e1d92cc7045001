"""The Raft algorithm without I/O: values in, values out, no clock, no network.

Start reading at :mod:`ood.raft.core.types` (the values and the order in which a
driver must treat them), then :mod:`ood.raft.core.node` (the one class that a
driver uses).
"""
