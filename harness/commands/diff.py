"""`diff OLD NEW`: what changed between two certificates. Exit code 1 where a clause was lost."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from dcp_conformance import HOME
from dcp_conformance.harness.certificate.compared import compared, comparison_lines
from dcp_conformance.harness.certificate.prose import plain
from dcp_conformance.harness.commands.arguments import add_certificate, certificate_at, parser
from dcp_conformance.harness.contract import renamed_in


def main(arguments: Sequence[str]) -> int:
    """Print the changes, what was lost first."""
    options = parser("diff", "Say what changed between two certificates; 1 where a clause was lost.")
    add_certificate(options, "old", default=None)
    add_certificate(options, "new", default=None)
    given = options.parse_args(arguments)
    old, new = certificate_at(given.old), certificate_at(given.new)
    for name, certificate in (("old", old), ("new", new)):
        backend = certificate["backend"]
        code = backend["commit"] or backend["digest"]
        print(plain(f"{name}: {backend['name']} {backend['version']} ({code}), {certificate['run']['ended']}"))
        if certificate["run"]["partial"]:
            print(f"     a partial run: {'; '.join(certificate['run']['partial'])}")
    found = compared(old, new, renamed_in(HOME / "suites" / "renamed.toml"))
    print("\n".join(comparison_lines(found)))
    return int(bool(found.lost))


if __name__ == "__main__":
    from dcp_conformance.harness.commands import main as run

    raise SystemExit(run("diff", sys.argv[1:]))
