"""Implementations of the ports of `worker.services`, each named by its technology."""
