"""Tests of the simulated devices, on ranks that have some."""
