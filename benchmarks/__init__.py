"""What the documents claim, measured; each prints its targets beside what it found."""
