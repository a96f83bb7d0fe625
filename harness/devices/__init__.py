"""Accelerators that are simulated, for machines without a real one (docs/devices.md)."""

#: The kind of device that a rank simulates, as --device and torch name it.
SIMULATED = "sim"
