"""The one exception that means: what the caller gave us cannot be used."""

from __future__ import annotations


class UsageError(Exception):
    """Bad input from the person who runs the harness.

    The text is the whole message: what was given, what was tried, what to do. The plugin turns it into
    pytest's exit code 4, so that bad input never reads as green.
    """
