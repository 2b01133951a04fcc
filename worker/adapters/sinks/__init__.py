"""The sinks of events, one module each."""
