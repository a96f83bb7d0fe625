"""The picture of the README: the last lines of a real run, drawn as a terminal from a published certificate."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from typing import Any

from dcp_conformance.harness.certificate.bases import title_of
from dcp_conformance.harness.certificate.causes import causes_of
from dcp_conformance.harness.certificate.prose import broken_lines
from dcp_conformance.harness.certificate.terminal import summary_lines

NAME = "report.svg"
OF = "torch.distributed.checkpoint-2.13.0"
_WIDTH, _LINE, _LETTER, _EDGE, _MOST = 80, 17, 7.8, 16, 44
_FINDINGS = 2
# Both grounds are the picture's own, so that it can be read on whatever page it lies.
_STYLE = (
    "rect{fill:#fff;stroke:#d0d7de}text{font:13px ui-monospace,monospace;fill:#1f2328;white-space:pre}"
    ".bad{fill:#b3261e;font-weight:bold}.good{fill:#116329;font-weight:bold}"
    "@media(prefers-color-scheme:dark){rect{fill:#0d1117;stroke:#30363d}text{fill:#e6edf3}"
    ".bad{fill:#ff938a}.good{fill:#7ee787}}"
)


def picture(certificate: Mapping[str, Any]) -> str:
    """Return the report's first screen as an SVG."""
    lines = [*summary_lines(certificate, _WIDTH, height=_MOST), *_findings(certificate)][:_MOST]
    wide, high = round(_WIDTH * _LETTER) + 2 * _EDGE, len(lines) * _LINE + 2 * _EDGE
    texts = [_text(line, _EDGE + (number + 1) * _LINE - 4) for number, line in enumerate(lines) if line.strip()]
    title = f"What a run prints about {certificate['backend']['name']} {certificate['backend']['version']}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" width="{wide}" height="{high}" '
            f'role="img"><title>{html.escape(title)}</title>',
            f"<style>{_STYLE}</style>",
            f'<rect x=".5" y=".5" width="{wide - 1}" height="{high - 1}" rx="6"/>',
            *texts,
            "</svg>\n",
        ]
    )


def _findings(certificate: Mapping[str, Any]) -> Iterator[str]:
    """The worst of what is known to be broken, as a run prints it of a backend of which nothing is known."""
    for cause in causes_of(certificate, ("broken", "known"))[:_FINDINGS]:
        entry, outcome = cause.worst.entry, cause.worst.outcome
        yield from ("", *broken_lines(title=title_of(entry), promise=entry["promise"], outcome=outcome, width=_WIDTH))


def _text(line: str, down: int) -> str:
    line = line if len(line) <= _WIDTH else f"{line[: _WIDTH - 1]}\N{HORIZONTAL ELLIPSIS}"
    words = line.split()
    state = "bad" if "lost" in words[:2] else "good" if "held" in words[:2] else ""
    # xml:space keeps the columns where a viewer does not know white-space.
    kind = f' class="{state}"' if state else ""
    return f'<text x="{_EDGE}" y="{down}"{kind} xml:space="preserve">{html.escape(line)}</text>'
