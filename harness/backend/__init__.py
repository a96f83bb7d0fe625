"""What is under test, and how it is found: records, names, capabilities, stored bytes, servers."""
