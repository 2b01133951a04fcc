"""The one place that builds adapters and services from settings: a module for each process.

Each imports what its process needs and no more: beat sends no request and reads no token.
"""
