"""Read-only queries for CLI, console, metrics and health."""
