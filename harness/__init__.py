"""The machinery of dcp-conformance: clusters of ranks, faults, scenarios, verdicts, certificates."""
