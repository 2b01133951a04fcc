"""Pure decisions about payment sessions: no I/O, no clock, no random numbers."""
