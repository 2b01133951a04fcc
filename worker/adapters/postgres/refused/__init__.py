"""Messages that were not taken in."""
