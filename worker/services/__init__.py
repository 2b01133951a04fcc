"""Use cases: they order decisions and effects, and reach adapters only through ports."""
