"""A real power cut."""
