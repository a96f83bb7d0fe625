"""Plain data between processes that do not trust each other: a closed list of kinds, no code."""
