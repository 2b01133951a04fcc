"""Pure decisions about payment sessions: no input, no output, no clock, no chance of its own."""
