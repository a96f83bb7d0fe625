"""Process groups and coordination."""
