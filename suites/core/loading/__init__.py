"""Loading: partial loads, in place, Stateful."""
