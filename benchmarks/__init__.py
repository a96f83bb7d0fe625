"""Programs that measure the numbers in README."""
