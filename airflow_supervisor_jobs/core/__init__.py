"""Decisions: pure, without I/O, the clock passed in."""
