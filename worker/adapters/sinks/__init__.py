"""Where events go; one module a sink."""
