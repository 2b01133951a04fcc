"""Replays polling on traces of payment sessions, to compare, tune and calibrate policies.

Nothing here runs in a worker or beat process.
"""
