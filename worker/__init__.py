"""Tracks Klarna payment sessions to their end: `celery -A worker worker|beat|flower`."""
