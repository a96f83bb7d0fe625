"""Say which levels a new certificate loses or wins against the published one of the same backend.

    python -m reports.changes dcp-report

The exit code is 1 where there is such a level; a backend for which nothing is published can lose none.
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
    earlier = latest(new["backend"]["name"], published(HOME))
    if earlier is None:
        print(f"nothing is published for {new['backend']['name']}")
        return 0
    lines = changes(new, earlier)
    print("\n".join(lines) or "no level was lost or won")
    return int(bool(lines))


def latest(name: str, everything: Sequence[Published]) -> Published | None:
    """The newest published certificate of a backend of this name."""
    known = [each for each in everything if each.certificate["backend"]["name"] == name]
    return max(known, key=lambda each: str(each.certificate["run"]["ended"]), default=None)


def changes(new: Mapping[str, Any], earlier: Published) -> list[str]:
    """Sentences about levels whose state is not what an earlier certificate says."""
    whose = f"{new['backend']['name']} {new['backend']['version']}, torch {new['environment']['torch']}"
    return [
        f"{whose}: {level['level']} is {level['state']}, "
        f"and was {earlier.level(level['level'])['state']} with {earlier.backend}, torch {earlier.torch}"
        for level in new["levels"]
        if level["state"] != earlier.level(level["level"])["state"]
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
