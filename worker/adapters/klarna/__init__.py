"""Klarna's HTTP API as this worker uses it: one read."""
