"""What the browser tests need: Debian's `chromium` and `chromium-driver`, and axe-core from npm.

    apt-get install chromium chromium-driver
    npm install --prefix FOLDER axe-core         # then DCP_AXE=FOLDER/node_modules/axe-core/axe.min.js

Without them the tests are skipped with that sentence, and with DCP_BROWSER=required (as in continuous integration) they
fail.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from dcp_conformance.harness.certificate.reports import CERTIFICATE, REPORTS
from tests.browser.driver import Browser
from tests.certificate.samples import eventful
from tests.certificate.test_reports import hostile

_AXE = Path("node_modules/axe-core/axe.min.js")


def _lacking(what: str) -> None:
    sentence = f"{what} is not there; see the top of {Path(__file__).name}"
    if os.environ.get("DCP_BROWSER") == "required":
        pytest.fail(sentence)
    pytest.skip(sentence)


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core."""
    place = Path(os.environ.get("DCP_AXE", _AXE))
    if not place.is_file():
        _lacking("axe-core (DCP_AXE)")
    return place.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        _lacking("chromium with its driver")
    opened = Browser(str(driver), str(chromium), tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of report folders: `eventful` and `hostile`."""
    folder = tmp_path_factory.mktemp("site")
    for name, certificate in (("eventful", eventful()), ("hostile", hostile())):
        (folder / name).mkdir()
        (folder / name / CERTIFICATE).write_text("{}")
        for report, made in REPORTS.items():
            (folder / name / report).write_text(made(certificate), encoding="utf-8")
    return folder
