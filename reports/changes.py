"""Say which levels a new certificate loses or wins against the published one of the same backend.

    python -m reports.changes dcp-report

The exit code is 1 where there is such a level, or where nothing is published for that backend.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dcp_conformance.harness.certificate import files
from reports.published import Published, published

HOME = Path(__file__).resolve().parent


def main(words: Sequence[str]) -> int:
    """Print the changes, a line each."""
    new = files.read(Path(words[0]) / "certificate.json")
    lines = changes(new, published(HOME))
    print("\n".join(lines) or "no level was lost or won")
    return int(bool(lines))


def changes(new: Mapping[str, Any], everything: Sequence[Published]) -> list[str]:
    """Sentences about levels whose state is not what the newest published certificate says."""
    name = new["backend"]["name"]
    known = [each for each in everything if each.certificate["backend"]["name"] == name]
    if not known:
        return [f"nothing is published for {name}"]
    latest = max(known, key=lambda each: str(each.certificate["run"]["ended"]))
    whose = f"{name} {new['backend']['version']}, torch {new['environment']['torch']}"
    return [
        f"{whose}: {level['level']} is {level['state']}, "
        f"and was {latest.level(level['level'])['state']} with {latest.backend}, torch {latest.torch}"
        for level in new["levels"]
        if level["state"] != latest.level(level["level"])["state"]
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
