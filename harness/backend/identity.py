"""Which code a certificate speaks of: the commit of the backend's repository and a digest of its files."""

from __future__ import annotations

import functools
import hashlib
import inspect
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_CODE = frozenset({".py", ".pyi", ".so", ".pyx", ".rs", ".c", ".cc", ".cpp", ".h"})
# A package larger than this is more than a storage; reading it must not cost what the checks cost.
_MOST_BYTES = 256 << 20
_GIT_LIMIT = 10


def files_of(location: str, parts: Iterable[Any]) -> list[Path]:
    """Return the files of a backend's code: the packages or modules in which its record and its parts lie."""
    places = [Path(location), *(Path(file) for part in parts if (file := _source(part)))]
    roots = {place.parent if (place.parent / "__init__.py").is_file() else place for place in places}
    found = {file.resolve() for root in roots for file in ([root] if root.is_file() else root.rglob("*"))}
    return sorted(file for file in found if file.suffix in _CODE and file.is_file())


def code_digest(files: Iterable[Path]) -> str:
    """Return one digest over the contents of the files, wherever they lie; empty for no files or too many."""
    listed = list(files)
    if not listed or sum(file.stat().st_size for file in listed) > _MOST_BYTES:
        return ""
    # No paths: the same code in two folders is the same code.
    contents = sorted(f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}" for file in listed)
    return f"sha256:{hashlib.sha256(chr(10).join(contents).encode()).hexdigest()}"


def commit_of(file: Path) -> str:
    """Return the commit that a file belongs to, with the remark that its folder holds changes.

    Empty outside a repository.
    """
    if not _git(file.parent, "ls-files", "--error-unmatch", file.name):
        return ""
    commit = _git(file.parent, "rev-parse", "HEAD")
    return f"{commit} with changes" if commit and _git(file.parent, "status", "--porcelain", ".") else commit


def _source(part: Any) -> str:
    while isinstance(part, functools.partial):
        part = part.func
    try:
        return inspect.getsourcefile(inspect.unwrap(part)) or ""
    except (TypeError, ValueError, OSError):
        # Built in, or made in a way that leads to no file.
        return ""


def _git(folder: Path, *words: str) -> str:
    """Return what git answers; empty where there is no git, no repository, or no answer in time."""
    command = ["git", "-C", str(folder), "-c", "core.fsmonitor=false", *words]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_LIMIT, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""
