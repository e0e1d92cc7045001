"""Raft for Twisted: a replicated log that survives the loss of any minority.

:mod:`ood.raft.core` is the algorithm without I/O; the modules beside it give
it a clock, a disk and a network.  :mod:`ood.raft.simulate` runs whole clusters
of cores from a seed and checks every step.
"""
