"""Crashes: what a kill or a power cut leaves."""
