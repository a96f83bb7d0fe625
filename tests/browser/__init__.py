"""The page in a real browser: run where chromium and axe-core are there, see conftest.py."""
