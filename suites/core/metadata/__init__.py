"""Metadata: what it says, and how it is read."""
