"""Publish what a run left in its report folder, and make the pages anew.

    python -m reports.publish dcp-report s3torchconnector-1.5.0     a certificate into reports/NAME/
    python -m reports.publish                                       the pages alone
    python -m reports.publish --check                               whether they are what the certificates say

The pages are reports/README.md, reports/index.html, reports/releases.md, the picture reports/report.svg and a README.md
beside each certificate. Nothing on them is typed: findings are those with a file in the folder's findings/. What is
published names no folder of this machine.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dcp_conformance.harness.certificate import files
from dcp_conformance.harness.certificate.reports import CERTIFICATE, REPORTS
from reports import pages, picture, releases
from reports.public import public
from reports.published import Published, published

HOME = Path(__file__).resolve().parent
# Beside each certificate; what else can be made of one is a command away (`dcp-conformance report`).
BESIDE = ("junit.xml", "index.html")


def main(words: list[str]) -> int:
    """Do what the command line says; the exit code is 1 where --check found a page that is not up to date."""
    parser = argparse.ArgumentParser(prog="python -m reports.publish", description=__doc__)
    parser.add_argument("source", nargs="?", type=Path, help="the report folder of a run")
    parser.add_argument("name", nargs="?", help="BACKEND-VERSION, the folder to publish in")
    parser.add_argument("--check", action="store_true", help="write nothing")
    given = parser.parse_args(words)
    if given.source is not None:
        if given.name is None or "/" in given.name:
            parser.error("a name BACKEND-VERSION is needed for the folder below reports/")
        _copy(given.source, HOME / given.name)
    stale = [place for place, text in made(published(HOME)).items() if not _is(place, text)]
    for place in stale:
        print(f"{'not up to date' if given.check else 'written'}: {place.relative_to(HOME.parent)}")
    if given.check:
        return int(bool(stale))
    for place, text in made(published(HOME)).items():
        place.write_text(text, encoding="utf-8")
    return 0


def made(everything: list[Published]) -> dict[Path, str]:
    """Every page, by its place."""
    texts = {
        HOME / "README.md": pages.overview(everything),
        HOME / "index.html": pages.overview_html(everything),
        HOME / "releases.md": releases.page(),
    }
    shown = [each for each in everything if each.folder.name == picture.OF]
    texts |= {HOME / picture.NAME: picture.picture(shown[0].certificate)} if shown else {}
    return {**texts, **{each.folder / "README.md": pages.of_one(each) for each in everything}}


def _copy(source: Path, target: Path) -> None:
    certificate = public(files.read(source / CERTIFICATE))
    files.write(certificate, target / CERTIFICATE)
    for name in BESIDE:
        files.write_text(REPORTS[name](certificate), target / name)


def _is(place: Path, text: str) -> bool:
    return place.exists() and place.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
