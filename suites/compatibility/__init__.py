"""The level compatibility. Torch's own files, old releases, format utilities, HuggingFace files, transforms."""
