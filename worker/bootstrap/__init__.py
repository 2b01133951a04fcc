"""Builds adapters and services from settings, with one module for each process.

A module imports only what its process needs: beat sends no request and reads no token.
"""
