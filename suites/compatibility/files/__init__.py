"""Torch's on-disk format and the files of old releases."""
