"""Storage writers and readers: the local file system, fsspec, torch's own files."""
