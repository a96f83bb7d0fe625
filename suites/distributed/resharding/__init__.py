"""Load planning and resharding."""
