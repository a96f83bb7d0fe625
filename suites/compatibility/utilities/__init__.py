"""Format utilities and HuggingFace files."""
