"""Has a name and a version that would clear the screen and write a verdict there."""

from __future__ import annotations

from dcp_conformance.harness import control

TEXT = "1.0\x1b[2J\x1b[1;1H\x1b[32mcore held\x1b[0m\r\u202e\udcff"
UNSUPPORTED = {**control.UNSUPPORTED, "extensions": TEXT}
__version__ = TEXT


class Reader(control.Reader):
    """Fails."""

    def read_metadata(self, *args: object, **kwargs: object) -> None:
        raise OSError(TEXT)


class Writer(control.Writer):
    """As the control's."""
