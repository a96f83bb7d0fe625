"""Replicated and sharded values."""
