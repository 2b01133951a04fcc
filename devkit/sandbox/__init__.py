"""A Klarna stand-in over real HTTP, for the demo, tests, benchmarks and shops' own tests.

It stands alone: nothing here imports the rest of the worker.
"""
