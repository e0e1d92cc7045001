"""Certificates: obtained by ACME, read from files, or made for this machine.

``part.py`` is what the service composes; nothing else of the package, and neither
cryptography nor treq, is imported before a certificate is wanted.  The names of
:mod:`~ood.certs.interfaces` are txacme's.
"""
