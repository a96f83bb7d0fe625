"""A badge for a README: an SVG file, and the endpoint JSON that badge services read. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from dcp_conformance.harness.certificate.prose import plain

LABEL = "DCP conformance"
# Colours with a contrast of at least 4.5 to white; the names are those of the endpoint's schema.
_COLOURS: Mapping[str, tuple[str, str]] = {
    "held": ("#1a7f37", "success"),
    "lost": ("#b42318", "critical"),
    "undecided": ("#57606a", "inactive"),
}
# Letters of this font at 11 px are about so wide, in px; a badge has to say its width before it is drawn.
_LETTER, _PADDING, _HEIGHT = 6.6, 12, 20


def message(certificate: Mapping[str, Any]) -> tuple[str, str]:
    """Return what the badge says, and whether that is `held`, `lost` or `undecided`."""
    judged = [level for level in certificate["levels"] if level["state"] != "not run"]
    held = [level["level"] for level in judged if level["state"] == "held"]
    lost = [level["level"] for level in judged if level["state"] == "lost"]
    if certificate["run"]["partial"]:
        return "partial run", "undecided"
    if lost:
        return f"{len(held)} of {len(judged)} levels, lost: {', '.join(lost)}", "lost"
    if not held or len(held) < len(judged):
        return f"{len(held)} of {len(judged)} levels", "undecided"
    return f"{len(held)} levels held", "held"


def badge_svg(certificate: Mapping[str, Any]) -> str:
    """Return the badge as an SVG image that says the same to a screen reader."""
    said, state = message(certificate)
    said = plain(said)
    left, right = (round(len(text) * _LETTER + _PADDING) for text in (LABEL, said))
    title = f"{LABEL}: {said}"
    middle = _HEIGHT * 0.7
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="{_HEIGHT}" role="img" '
        f"aria-label={quoteattr(title)}><title>{escape(title)}</title>"
        f'<rect width="{left}" height="{_HEIGHT}" fill="#33383e"/>'
        f'<rect x="{left}" width="{right}" height="{_HEIGHT}" fill="{_COLOURS[state][0]}"/>'
        '<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        f'<text x="{left / 2}" y="{middle}">{escape(LABEL)}</text>'
        f'<text x="{left + right / 2}" y="{middle}">{escape(said)}</text></g></svg>\n'
    )


def badge_json(certificate: Mapping[str, Any]) -> str:
    """Return the badge as endpoint JSON, schema version 1."""
    said, state = message(certificate)
    data = {"schemaVersion": 1, "label": LABEL, "message": plain(said), "color": _COLOURS[state][1]}
    return json.dumps(data) + "\n"
