"""The global plan, duplicates, load balancing."""
