"""`report [FILE]`: print the summary of a certificate again, and write the files that are made from it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from dcp_conformance.harness.certificate import files
from dcp_conformance.harness.certificate.details import detail_lines
from dcp_conformance.harness.certificate.prose import encodable
from dcp_conformance.harness.certificate.reports import PAGE, REPORTS
from dcp_conformance.harness.certificate.terminal import HEIGHT, WIDTH, summary_lines
from dcp_conformance.harness.commands.arguments import add_certificate, certificate_at, parser


def main(arguments: Sequence[str]) -> int:
    """Print a certificate; with --to, write its page, JUnit file, summary and badge."""
    options = parser("report", "Print a certificate again, or write its page, JUnit file, summary and badge.")
    add_certificate(options)
    options.add_argument("--to", metavar="DIR", help=f"write {', '.join(REPORTS)} there")
    options.add_argument("--details", action="store_true", help="print everything, not one screen")
    options.add_argument("--markdown", action="store_true", help="print the Markdown summary instead")
    given = options.parse_args(arguments)
    certificate = certificate_at(given.certificate)
    if given.to:
        for name, made in REPORTS.items():
            files.write_text(made(certificate), Path(given.to) / name)
    if given.markdown:
        print(REPORTS["summary.md"](certificate), end="")
        return 0
    columns, rows = shutil.get_terminal_size((WIDTH, HEIGHT))
    width = min(max(columns, 60), 100)
    page = str(Path(given.to) / PAGE) if given.to else ""
    lines = [*detail_lines(certificate, width), ""] if given.details else []
    lines += summary_lines(certificate, width, height=max(rows - 2, 24), path=page)
    print("\n".join(encodable(lines, sys.stdout.encoding)))
    return 0


if __name__ == "__main__":
    from dcp_conformance.harness.commands import main as run

    raise SystemExit(run("report", sys.argv[1:]))
