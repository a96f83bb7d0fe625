"""Damage to stored bytes."""
