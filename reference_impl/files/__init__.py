"""Bytes on disk: entries, archives, checksums, metadata, names."""
