"""A certificate as it may leave the machine that it was made on: no folder of that machine is named in it.

A traceback needs the file and the line, not where somebody keeps an environment. The texts are shortened and the
certificate is sealed again: its digests say that it is whole, and never said who made it.
"""

from __future__ import annotations

import re
from typing import Any

from dcp_conformance.harness.certificate.seal import sealed

_FOLDER = r"""(?<![\w.:/])/(?:[^\s/"'<>:,;()\[\]\\]+/)*"""
# What stands before these names is the machine's own; the first that fits is taken.
_SHORTER = (
    (re.compile(_FOLDER + r"site-packages/"), ""),
    (re.compile(_FOLDER + r"(?=dcp_conformance/(?:harness|suites|reference_impl|backends|command|fixtures))"), ""),
    (re.compile(_FOLDER + r"lib/(?=python3\.\d+/)"), ""),
    (re.compile(_FOLDER + r"bin/(?=python)"), ""),
    (re.compile(_FOLDER + r"dcp-conformance-\w+"), "SCRATCH"),
    (re.compile(_FOLDER + r"dcp-store-\w+"), "STORE"),
    (re.compile(r"""(?<![\w.:/])/(?:tmp|home|root|work|var|opt|usr|srv|mnt|Users)/[^\s"'<>:,;()\[\]\\]*"""), "..."),
)
PRIVATE = re.compile(r"(?<![\w.:/])/(?:tmp|home|root|work|var|opt|usr|srv|mnt|Users)/")


def public(certificate: dict[str, Any]) -> dict[str, Any]:
    """The certificate with its paths shortened, sealed anew."""
    shorter = _shorter({name: value for name, value in certificate.items() if name != "digests"})
    return sealed(shorter, events=certificate["digests"]["events"])


def _shorter(value: Any) -> Any:
    if isinstance(value, dict):
        return {_shorter(name): _shorter(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_shorter(item) for item in value]
    return shortened(value) if isinstance(value, str) else value


def shortened(text: str) -> str:
    """A text without folders of this machine."""
    for pattern, word in _SHORTER:
        text = pattern.sub(word, text)
    return text
