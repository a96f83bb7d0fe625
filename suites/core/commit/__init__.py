"""Commit: finish, and replacing a checkpoint."""
