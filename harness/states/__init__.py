"""Deterministic values, layouts and templates for scenarios, and the bit-exact comparison of what came back."""
