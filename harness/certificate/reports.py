"""The files that are made from a certificate and lie beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dcp_conformance.harness.certificate.badge import badge_json, badge_svg
from dcp_conformance.harness.certificate.junit import junit_xml
from dcp_conformance.harness.certificate.markdown import markdown
from dcp_conformance.harness.certificate.page import page

CERTIFICATE = "certificate.json"
PAGE = "index.html"

REPORTS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    PAGE: page,
    "junit.xml": junit_xml,
    "summary.md": markdown,
    "badge.svg": badge_svg,
    "badge.json": badge_json,
}
