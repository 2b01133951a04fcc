"""Repositories, reports and schema in Postgres, through SQLAlchemy."""
