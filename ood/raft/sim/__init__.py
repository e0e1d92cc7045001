"""Whole clusters of cores in one thread: a disk, a network and clocks that obey a seed.

:mod:`~ood.raft.sim.member` drives one core as a real driver must,
:mod:`~ood.raft.sim.world` lets time pass and breaks things,
:mod:`~ood.raft.sim.monitors` checks Raft's promises at every step and
:mod:`~ood.raft.sim.linearizability` what clients saw.  ``python -m
ood.raft.simulate`` runs many histories.
"""
