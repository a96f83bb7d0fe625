"""`bundle ID`: one finding with its evidence as an archive for a bug report."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dcp_conformance.harness.certificate.bases import title_of
from dcp_conformance.harness.certificate.causes import Sighting
from dcp_conformance.harness.certificate.prose import broken_lines, count
from dcp_conformance.harness.certificate.token import token_of
from dcp_conformance.harness.commands.arguments import add_certificate, certificate_at, findings_of, parser
from dcp_conformance.harness.commands.standalone import SCRIPT, Standalone, standalone
from dcp_conformance.harness.errors import UsageError

# What a certificate says beside its verdicts, and belongs to each of them.
_KEPT = ("suite", "backend", "engine", "environment", "run", "digests")


def main(arguments: Sequence[str]) -> int:
    """Write the archive; never over a file that is there."""
    options = parser("bundle", "Pack one finding's evidence for a bug report.")
    options.add_argument("clause", metavar="ID", help="the broken clause")
    add_certificate(options)
    options.add_argument("--case", default=None, metavar="CASE", help="this case only")
    options.add_argument("--to", default=None, metavar="FILE", help="the archive (default: ID.tar.gz)")
    given = options.parse_args(arguments)
    certificate = certificate_at(given.certificate)
    found = findings_of(certificate, given.clause, given.case)
    target = Path(given.to or f"{given.clause}.tar.gz")
    if target.exists():  # asked before the finding is shown, which takes seconds
        raise UsageError(f"{target} is there already. Name another file with --to.")
    shown = standalone(certificate, found[0])
    try:
        with target.open("xb") as file:
            file.write(archive(certificate, found, given.clause, shown))
    except FileExistsError:
        raise UsageError(f"{target} is there already. Name another file with --to.") from None
    except OSError as error:
        raise UsageError(f"Cannot write {target}: {error.strerror}.") from error
    print(f"{target}: {count(len(found), 'case')} of {given.clause}. Read it before you publish it.")
    print(shown.said)
    return 0


def archive(certificate: Mapping[str, Any], found: Sequence[Sighting], name: str, shown: Standalone) -> bytes:
    """Return a tar archive: what to read first, the findings in full, their run, the lines that repeat them."""
    tokens = [token_of(certificate, one.entry["id"], one.outcome.case).encoded() for one in found]
    commands = [one.outcome.finding.reproduce for one in found if one.outcome.finding]
    contents = {
        "README.txt": _first(certificate, found, tokens[0], shown.said),
        "findings.json": _json([one.outcome.as_data() for one in found]),
        "run.json": _json({key: certificate[key] for key in _KEPT}),
        "reproduce.sh": "\n".join(["#!/bin/sh", *commands]) + "\n",
        "tokens.txt": "\n".join(tokens) + "\n",
        **shown.files,
    }
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as packed:
        for place, text in contents.items():
            data = text.encode("utf-8", "backslashreplace")
            entry = tarfile.TarInfo(f"{name}/{place}")
            entry.size, entry.mode = len(data), 0o755 if place in ("reproduce.sh", SCRIPT) else 0o644
            packed.addfile(entry, io.BytesIO(data))
    return target.getvalue()


def _first(certificate: Mapping[str, Any], found: Sequence[Sighting], token: str, script: str) -> str:
    backend, worst = certificate["backend"], found[0]
    entry = worst.entry
    lines = [
        f"{backend['name']} {backend['version']} with {certificate['engine']}, suite {certificate['suite']['version']}",
        f"code: commit {backend['commit'] or 'unknown'}, {backend['digest'] or 'no digest'}",
        "",
        *broken_lines(
            title=title_of(entry),
            promise=entry["promise"],
            outcome=worst.outcome,
            width=100,
            others=[one.outcome.case for one in found[1:]],
        ),
        "",
        f"Or: dcp-conformance replay {token}",
        "",
        script,
    ]
    return "\n".join(lines) + "\n"


def _json(data: object) -> str:
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    from dcp_conformance.harness.commands import main as run

    raise SystemExit(run("bundle", sys.argv[1:]))
