"""Alembic's environment and the versions: expand, backfill, contract."""
