"""Calls: the API surface, backend detection, observability."""
