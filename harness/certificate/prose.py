"""How reports write: plain text, wrapped paragraphs with a label, and the four parts of a broken promise."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator

from dcp_conformance.harness.verdicts.verdict import CaseOutcome, Verdict

NARROWEST = 40
# The certificate has all of it; a terminal shows the end, where a traceback says what happened.
_MOST_LINES = 16

_ESCAPE_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|.)", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_LABEL = 11
# A word as shlex.join writes it; an option and its value stay on one line.
_SHELL_WORD = re.compile(r"""(?:--[a-z-]+ (?!-))?(?:"'"|'[^']*'|[^\s'"])+""")


def plain(text: str) -> str:
    """`text` without what could steer a terminal; line breaks stay, tabs become blanks."""
    text = _ESCAPE_SEQUENCE.sub("", text.replace("\r\n", "\n").expandtabs(4))
    return _CONTROL.sub("?", text)


def one_line(text: str, width: int, *, strip: bool = True) -> str:
    """Return the first line of `text`, cut to `width` characters; without `strip` blanks around it count."""
    lines = (plain(text).strip() if strip else plain(text)).splitlines() or [""]
    line = lines[0] if len(lines) == 1 else f"{lines[0]} ..."
    return line if len(line) <= width else line[: max(0, width - 4)].rstrip() + " ..."


def encodable(lines: Iterable[str], encoding: str | None) -> list[str]:
    """Return the lines as a stream of that encoding can write them; what it cannot becomes an escape."""
    name = encoding or "ascii"
    return [line.encode(name, "backslashreplace").decode(name) for line in lines]


def paragraph(text: str, width: int, *, first: str = "", rest: str = "") -> list[str]:
    """`text` wrapped to `width`; the first line begins with `first`, the others with `rest`. Long words stay whole."""
    return textwrap.wrap(
        plain(text),
        max(width, NARROWEST),
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [first.rstrip()]


def labelled(label: str, text: str, width: int) -> list[str]:
    """Return a paragraph with its label in a column of its own."""
    return paragraph(text, width, first=f"  {label:<{_LABEL}}", rest=" " * (_LABEL + 2))


def command_lines(command: str, width: int, *, first: str = "") -> list[str]:
    """Return a command line for a shell, broken with backslashes where it is too long: it can be copied as it is."""
    words = _SHELL_WORD.findall(plain(command).replace("\n", " "))
    lines, rest = [first.rstrip("\n")], " " * (len(first) + 2)
    for word in words:
        line = lines[-1]
        if line.strip() != first.strip() and len(line) + len(word) + 3 > width:
            lines[-1] = f"{line} \\"
            lines.append(rest + word)
        else:
            lines[-1] = f"{line}{word}" if line in (first, rest) else f"{line} {word}"
    return lines


def count(number: int, one: str, many: str = "") -> str:
    """`1 case`, `2 cases`."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def broken_lines(
    *, title: str, promise: str, outcome: CaseOutcome, width: int, others: Iterable[str] = ()
) -> list[str]:
    """Return one broken promise: what was promised, what was observed, where the evidence lies, how to see it again.

    `others` are further cases that broke the same promise. The line that reproduces it is never wrapped.
    """
    finding = outcome.finding
    observed = finding.observed if finding else outcome.reason or "no more is known"
    rank = f"rank {finding.rank}: " if finding and finding.rank is not None else ""
    hang = "it hangs; " if outcome.verdict is Verdict.HANG else ""
    lines = [
        *paragraph(f"{title}, case {outcome.case}", width, rest="    "),
        *labelled("promised", promise, width),
        *labelled("observed", f"{hang}{rank}{observed}", width),
        *_evidence(outcome, width),
    ]
    more = list(others)
    if more:
        lines += labelled("also in", "; ".join(more), width)
    if finding and finding.reproduce:
        command = plain(finding.reproduce).replace("\n", " ")
        lines.append(f"  {'reproduce':<{_LABEL}}{command}")
    return lines


def _evidence(outcome: CaseOutcome, width: int) -> Iterator[str]:
    pieces = dict(outcome.finding.evidence) if outcome.finding else {}
    if outcome.finding and outcome.reason:
        pieces["blame"] = outcome.reason
    pieces |= {"note" if index == 0 else f"note {index + 1}": note for index, note in enumerate(outcome.notes)}
    label = "evidence"
    for name, text in pieces.items():
        body = plain(text).rstrip().splitlines()
        if len(body) <= 1:
            yield from labelled(label, f"{plain(name)}: {body[0] if body else ''}".rstrip(), width)
        else:
            yield from labelled(label, f"{plain(name)}:", width)
            yield from _block(body)
        label = ""


def _block(lines: list[str]) -> Iterator[str]:
    indent = " " * (_LABEL + 4)
    if len(lines) > _MOST_LINES:
        yield f"{indent}[{len(lines) - _MOST_LINES} lines before this are in the certificate]"
    yield from (f"{indent}{line}".rstrip() for line in lines[-_MOST_LINES:])
