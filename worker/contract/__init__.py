"""What other programs rely on, as models: events and tasks. The documents in docs/ come from it."""
