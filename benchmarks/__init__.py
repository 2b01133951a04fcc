"""Benchmarks of the figures in the documents; each prints its targets and its results."""
