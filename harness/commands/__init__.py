"""What `dcp-conformance` does beside certifying: one file a command, each with a `main(arguments)` of its own.

A command is found by its name here; the entry point of the package only dispatches.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence

from dcp_conformance.harness.errors import UsageError

COMMANDS: Mapping[str, str] = {
    "report": "print a certificate again, or write its page, JUnit file, badge and summary",
    "verify": "recompute every verdict of a certificate from its evidence",
    "diff": "say what changed between two certificates",
    "bundle": "pack one finding's evidence for a bug report",
    "known": "write a known-failures file from a run",
    "replay": "repeat a finding from its token",
    "explain": "print a clause, who checks it and what the last run said",
    "contract": "write the pages of the contract as a static site",
}
USAGE_ERROR = 4


def main(name: str, arguments: Sequence[str]) -> int:
    """Run one command. Bad input is a sentence on stderr and exit code 4."""
    module = importlib.import_module(f"{__name__}.{name}")
    try:
        return int(module.main(arguments))
    except BrokenPipeError:
        raise
    except UsageError as error:
        print(f"dcp-conformance {name}: {error}", file=sys.stderr)
    except OSError as error:
        # A folder that cannot be written to, a disk that is full.
        print(f"dcp-conformance {name}: {error.filename or 'output'}: {error.strerror or error}.", file=sys.stderr)
    return USAGE_ERROR
