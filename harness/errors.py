"""The one exception that means: what the caller gave us cannot be used."""

from __future__ import annotations

import re

_LONGEST = 240


class UsageError(Exception):
    """Bad input from the person who runs the harness.

    The text is the whole message: what was given, what was tried, what to do. The plugin turns it into
    pytest's exit code 4, so that bad input never reads as green.
    """

    def __init__(self, text: str = "") -> None:
        super().__init__(_cut(text))


def _cut(text: str) -> str:
    """Return the text with the middle of its longest words left out: what was typed may be five thousand letters."""
    if len(text) <= _LONGEST:
        return text
    return re.sub(rf"\S{{{_LONGEST},}}", lambda word: f"{word.group()[:80]}...{word.group()[-40:]}", text)
