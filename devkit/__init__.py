"""What production never runs: mock Klarna server, embedded servers, demo and simulation."""
