"""Writing: the write phase, and determinism."""
