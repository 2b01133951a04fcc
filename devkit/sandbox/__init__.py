"""A mock Klarna server over real HTTP, for the demo, tests, benchmarks and shops' own tests.

It imports nothing of `worker`.
"""
