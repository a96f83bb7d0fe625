"""Reports on disk: written whole or not at all, and never over something that this harness did not write."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dcp_conformance.harness.certificate.schema import validate
from dcp_conformance.harness.errors import UsageError

# What the reports of a run of all levels take, a few times over.
_ROOM = 16 << 20
_MARKER = "dcp-conformance/certificate/"
# The first words of every other report that is written beside a certificate.
_MARKERS = (
    '<testsuites name="dcp-conformance"',
    "<!-- dcp-conformance report -->",
    "<!-- dcp-conformance summary -->",
    'aria-label="DCP conformance: ',
    '"label": "DCP conformance"',
)


def check_target(path: str | Path) -> None:
    """Raise UsageError if a report (certificate or JUnit file) would replace something else at `path`.

    To be asked before a run, so that nobody waits minutes for a refusal. A missing file or folder is fine.
    """
    target = Path(path)
    if not os.path.lexists(target):
        return
    if target.is_symlink() or not target.is_file():
        raise UsageError(f"{target} is not a plain file, so no report is written there. Choose another place.")
    if not _is_report(target):
        raise UsageError(
            f"{target} is there already and is not a report of this harness, so it is not overwritten. "
            "Move it away, or choose another place."
        )


def check_folder(folder: Path, shown: str) -> None:
    """Raise UsageError where no report can be written to a folder, which need not be there yet; it is not made.

    shown: what the person gave, for the message.
    """
    made: list[Path] = []
    try:
        for place in (*reversed(folder.parents), folder):
            if place.is_dir():
                continue
            if os.path.lexists(place):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            place.mkdir()
            made.append(place)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"x")
        free = _free(folder)
    except OSError as error:
        raise UsageError(
            f"--report-dir={shown}: no report can be written there: {error.strerror or error}. Choose another place."
        ) from None
    finally:
        with contextlib.suppress(OSError):
            for place in reversed(made):
                place.rmdir()
    if free is not None and free < _ROOM:
        raise UsageError(
            f"--report-dir={shown}: the file system is full: {free >> 10} KiB are free, and reports take some "
            f"{_ROOM >> 20} MiB. Choose another place."
        )


def _free(folder: Path) -> int | None:
    """Bytes that are free, None where the file system does not say (its total is 0)."""
    system = os.statvfs(folder)
    return system.f_bavail * system.f_frsize if system.f_blocks else None


def write(certificate: Mapping[str, Any], path: str | Path) -> None:
    """Write a valid certificate to `path`, atomically: a new file beside it, then a rename. Makes the folder.

    Raises UsageError if `path` holds anything but an older report or cannot be written, and ValueError for data
    that is no certificate.
    """
    problems = validate(certificate)
    if problems:
        raise ValueError("Not a certificate: " + "; ".join(problems[:5]))
    write_text(text(certificate), path)


def text(certificate: Mapping[str, Any]) -> str:
    """Return the certificate as it stands in its file; the same data always gives the same text."""
    return json.dumps(certificate, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_text(content: str, path: str | Path) -> None:
    """Replace the report at `path` by `content` in one step. Raises UsageError as `write` does."""
    check_target(path)
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _replace(target, content)
    except OSError as error:
        raise UsageError(f"Cannot write {target}: {error.strerror or error}. Choose another place.") from error


def read(path: str | Path) -> dict[str, Any]:
    """Return the certificate at `path`. Raises UsageError if it cannot be read or is not one."""
    certificate = load(path)
    problems = validate(certificate)
    if problems:
        raise UsageError(f"{path} is not a valid certificate: " + "; ".join(problems[:5]) + ".")
    return dict(certificate)


def load(path: str | Path) -> Any:
    """Return the JSON data at `path`, whatever it is. Raises UsageError if it cannot be read."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"Cannot read a certificate from {path}: {error}.") from error


def _replace(target: Path, content: str) -> None:
    draft = target.with_name(f".{target.name}.{os.getpid()}.draft")
    with draft.open("x", encoding="utf-8") as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            draft.replace(target)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise


def _is_report(path: Path) -> bool:
    """By its marker only: an older or newer schema of ours may be replaced too."""
    try:
        content = path.read_text(encoding="utf-8")
        if any(marker in content[:400] for marker in _MARKERS):
            return True
        data = json.loads(content)
    except (OSError, ValueError):
        # Unreadable, or neither JSON nor our XML: not ours.
        return False
    return isinstance(data, dict) and str(data.get("schema", "")).startswith(_MARKER)
