"""The conformance suites: one folder a level, each with its clauses beside its tests."""
