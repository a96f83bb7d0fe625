"""Concurrent use of checkpoints."""
