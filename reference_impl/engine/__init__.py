"""save, load and async_save. Start reading at save.py and load.py."""
