"""Variants: correct but unusual backends, which must pass everything that they claim."""
