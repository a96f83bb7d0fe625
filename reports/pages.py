"""The texts of the published pages, made from certificates and finding files alone."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable, Sequence

from dcp_conformance.harness.contract import LEVELS
from reports.published import Published

_NETWORK = "Network faults"


def overview(everything: Sequence[Published]) -> str:
    """reports/README.md: which backend holds which level."""
    rows = [[_link(each), each.torch, *(_level(each, name) for name in LEVELS), _cost(each)] for each in everything]
    lines = [
        "# Published certificates",
        "",
        "Made by `python -m reports.publish`; do not edit. A cell says the state of a level and how many of its",
        "clauses were kept, of those that bind the backend.",
        "",
        *_table(["backend", "torch", *LEVELS, "cost"], rows),
        "",
        "What torch's own DCP breaks, release by release: [releases.md](releases.md).",
        "",
        "## Findings",
        "",
        *(_findings(everything) or ["None yet."]),
    ]
    return "\n".join(lines) + "\n"


def overview_html(everything: Sequence[Published]) -> str:
    """reports/index.html: the same matrix for a browser."""
    head = "".join(f"<th>{html.escape(word)}</th>" for word in ("backend", "torch", *LEVELS, "cost"))
    body = "\n".join(_html_row(each) for each in everything)
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>DCP conformance: certificates</title>\n'
        "<style>body{font:15px/1.5 sans-serif;margin:2em}td,th{padding:.3em .6em;border:1px solid #ccc;text-align:left}"
        ".held{background:#dff2df}.lost{background:#f8dcdc}</style>\n"
        f"<h1>Published certificates</h1>\n<table>\n<tr>{head}</tr>\n{body}\n</table>\n</html>\n"
    )


def of_one(each: Published) -> str:
    """The README.md beside a certificate: versions, command, levels, findings by harm, network, cost."""
    certificate = each.certificate
    environment, run = certificate["environment"], certificate["run"]
    rows = [[name, _level(each, name), ", ".join(each.level(name)["broken"]) or "-"] for name in LEVELS]
    found = [[item.harm, f"[{item.title}](findings/{item.file.name})", ", ".join(item.clauses), item.status]
             for item in each.findings]  # fmt: skip
    lines = [
        f"# {each.backend}",
        "",
        f"Certified with torch {environment['torch']}, Python {environment['python']}, on {run['ended'][:10]}:",
        "",
        f"    {run['command']}",
        "",
        *_table(["level", "state", "broken MUSTs"], rows),
        "",
        f"Cost: {_cost(each)}. {' '.join(run['notes'])}",
        "",
        "## Findings, by harm",
        "",
        *(_table(["harm", "finding", "clauses", "status"], found) if found else ["None was looked into yet."]),
    ]
    network = each.table(_NETWORK)
    if network:
        lines += ["", "## The network", "", *_network(network)]
    return "\n".join(lines) + "\n"


def _network(rows: Iterable[Sequence[str | int]]) -> list[str]:
    """How many saves ended how, for each kind of fault; rows without a number of a request are about what was left."""
    counted: Counter[tuple[str, str, str, str]] = Counter()
    for save, fault, number, _, _, ended, _, loads in rows:
        if number:
            counted[str(save), str(fault), _end(str(ended)), str(loads)] += 1
    cells = [[*key, str(count)] for key, count in sorted(counted.items())]
    return _table(["save", "fault", "save", "then loads", "requests"], cells)


def _end(ended: str) -> str:
    return ended.partition(" torch.")[0].partition(" (")[0]


def _findings(everything: Iterable[Published]) -> list[str]:
    return [
        f"- {each.backend}: [{item.title}]({each.folder.name}/findings/{item.file.name}) ({item.harm}; {item.status})"
        for each in everything
        for item in each.findings
    ]


def _level(each: Published, name: str) -> str:
    level = each.level(name)
    return str(level["state"]) if level["state"] == "not run" else f"{level['state']} {level['kept']}/{level['owned']}"


def _cost(each: Published) -> str:
    return f"{each.minutes:.0f} min"


def _link(each: Published) -> str:
    return f"[{each.backend}]({each.folder.name}/README.md)"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return [_row(head), _row(["---"] * len(head)), *map(_row, escaped)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _html_row(each: Published) -> str:
    name = f'<a href="{html.escape(each.folder.name)}/index.html">{html.escape(each.backend)}</a>'
    levels = "".join(
        f'<td class="{html.escape(each.level(name)["state"].replace(" ", "-"))}">{html.escape(_level(each, name))}</td>'
        for name in LEVELS
    )
    return f"<tr><td>{name}</td><td>{html.escape(each.torch)}</td>{levels}<td>{html.escape(_cost(each))}</td></tr>"
