"""Measure the house: rooms and the arrows between them, lengths of files and functions, comments.

    python .ci/house.py [FOLDER]

FOLDER is a checkout (default: this one); one from before there were rooms is measured by its modules. Nothing is
imported: what a module imports is read from its source, imports inside functions and for types only included.
"""

from __future__ import annotations

import ast
import io
import statistics
import sys
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

PARTS = ("harness", "reference_impl", "suites")
ROOT = "dcp_conformance."


@dataclass
class Part:
    """What one folder at the top is made of."""

    files: list[int] = field(default_factory=list)
    functions: list[int] = field(default_factory=list)
    comments: int = 0
    code: int = 0
    arrows: set[tuple[str, str]] = field(default_factory=set)
    rooms: set[str] = field(default_factory=set)


def measured(folder: Path, name: str) -> Part:
    """Read all modules of a part."""
    part = Part()
    for path in sorted((folder / name).rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        if not source.strip():
            continue
        tree = ast.parse(source)
        part.files.append(source.count("\n"))
        part.functions += list(_lengths(tree))
        comments, code = _lines(source)
        part.comments, part.code = part.comments + comments, part.code + code
        room = _room(path.relative_to(folder).with_suffix("").parts)
        part.rooms.add(room)
        targets = {_room(tuple(target.split("."))) for target in _imports(tree) if target.split(".")[0] == name}
        part.arrows |= {(room, target) for target in targets if target != room}
    return part


def _room(parts: tuple[str, ...]) -> str:
    """The folder of a module, two below the part; the module itself where it lies directly in the part."""
    kept = parts[1:3] if parts[0] == "suites" else parts[1:2]
    return ".".join(kept) or "root"


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.removeprefix(ROOT) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.removeprefix(ROOT)


def _lengths(tree: ast.Module) -> Iterator[int]:
    """Lines of each function without its docstring."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            document = isinstance(first, ast.Expr) and isinstance(getattr(first, "value", None), ast.Constant)
            taken = (first.end_lineno or first.lineno) - first.lineno + 1 if document else 0
            yield (node.end_lineno or node.lineno) - node.lineno + 1 - taken


def _lines(source: str) -> tuple[int, int]:
    """Lines with a comment, and lines with code."""
    comments, code = set(), set()
    skipped = (tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER, tokenize.ENCODING)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            comments.add(token.start[0])
        elif token.type not in skipped:
            code.add(token.start[0])
    return len(comments), len(code)


def circles(arrows: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Groups of rooms that lean on each other (Tarjan's strongly connected components)."""
    heads: dict[str, list[str]] = {}
    for tail, head in arrows:
        heads.setdefault(tail, []).append(head)
        heads.setdefault(head, [])
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(room: str) -> None:
        number[room] = low[room] = len(number)
        stack.append(room)
        for head in heads[room]:
            if head not in number:
                visit(head)
                low[room] = min(low[room], low[head])
            elif head in stack:
                low[room] = min(low[room], number[head])
        if low[room] == number[room]:
            group = stack[stack.index(room) :]
            del stack[stack.index(room) :]
            if len(group) > 1:
                found.append(sorted(group))

    for room in sorted(heads):
        if room not in number:
            visit(room)
    return found


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    for name in PARTS:
        part = measured(folder, name)
        functions = sorted(part.functions)
        sizes = f"{len(part.files)} files, {sum(part.files)} lines"
        print(f"{name}: {sizes}; median file {statistics.median(part.files):.0f}, longest {max(part.files)}")
        lengths = (
            f"median {statistics.median(functions):.0f} lines, 9 of 10 up to {functions[len(functions) * 9 // 10]}"
        )
        print(f"  {len(functions)} functions: {lengths}, longest {functions[-1]}")
        print(f"  a comment on one line of code in {part.code / max(part.comments, 1):.0f}")
        rings = circles(part.arrows)
        print(f"  {len(part.rooms)} rooms, {len(part.arrows)} arrows, {len(rings)} circles {rings or ''}")


if __name__ == "__main__":
    main()
