"""The CLI commands that need the devkit."""
