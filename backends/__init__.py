"""Adapters for real backends, each found by name through the entry point group ``dcp_conformance.backends``."""
