"""Use cases: they order decisions and effects, and know the outside only through ports."""
