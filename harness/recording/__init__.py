"""Recording the file operations of one job, answering some of them with errors, and rebuilding what they left."""
