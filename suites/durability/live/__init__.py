"""Failing calls while a save runs."""
