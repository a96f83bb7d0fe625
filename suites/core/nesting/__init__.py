"""Nesting: nested structures and their keys."""
