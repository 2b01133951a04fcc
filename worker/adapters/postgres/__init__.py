"""Postgres through SQLAlchemy: the truth and the schedule."""
