"""The repository of payment sessions and its SQL."""
