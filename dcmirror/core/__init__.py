"""Pure decisions: no clock, no randomness, no files, no processes of their own."""
