"""The scratch folder: the one place a run writes to, on the file system under test."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from dcp_conformance.harness.errors import UsageError

# Proves that a folder was made by a run and may be deleted with all that is in it.
MARKER = ".dcp-conformance-run"

# fsync does nothing on these, so a store that forgets it would look durable.
MEMORY_FILE_SYSTEMS = frozenset({"tmpfs", "ramfs"})


def choose_scratch(option: str | None) -> Path:
    """Make a fresh run folder and return it.

    It lies below ``option`` (``--scratch``), which is created if it is not there; without one, below the first of
    the temporary folder, ``/var/tmp`` and the current folder that is on disk and writable. Nothing else in that
    folder is ever touched. Raises UsageError when nothing can be written there.
    """
    parent = _given(option) if option is not None else _default()
    folder = Path(tempfile.mkdtemp(prefix="dcp-conformance-", dir=parent)).resolve()
    (folder / MARKER).write_text(f"{os.getpid()}\n")
    return folder


def discard_scratch(folder: Path) -> None:
    """Delete a run folder made by choose_scratch; ValueError for any other folder."""
    if not (folder / MARKER).is_file():
        raise ValueError(f"{folder} was not made by a run ({MARKER} is missing), so it is not deleted.")
    for path, folders, _ in os.walk(folder):
        for name in folders:
            _make_enterable(Path(path, name))
    shutil.rmtree(folder)


def run_folder_of(path: str | os.PathLike[str]) -> Path | None:
    """Return the run folder that ``path`` lies strictly below (links in its parents followed), or None."""
    parent = Path(os.path.realpath(Path(path).parent))
    return next((folder for folder in (parent, *parent.parents) if (folder / MARKER).is_file()), None)


def filesystem_type(path: str | os.PathLike[str]) -> str:
    """Return the type of the file system that holds ``path`` ("ext4", "tmpfs", "nfs4"), or "unknown"."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return "unknown"  # not Linux: there is no such table, and a certificate may say so
    target = Path(os.path.realpath(path))
    best, kind = -1, "unknown"
    for line in mounts:
        # proc(5): fields up to " - " describe the mount (the fifth is its place), the first after it is the type.
        left, _, right = line.partition(" - ")
        place = Path(_unescape(left.split()[4]))
        # ">=": of two mounts on one place the later one is seen.
        if target.is_relative_to(place) and len(place.parts) >= best:
            best, kind = len(place.parts), right.split()[0]
    return kind


def _given(option: str) -> Path:
    folder = Path(option).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--scratch={option}: not a folder, and it cannot be made: {error.strerror}.") from error
    if not _writable(folder):
        raise UsageError(f"--scratch={option}: the folder is not writable. Give one that this user may write to.")
    return folder


def _default() -> Path:
    places = [Path(tempfile.gettempdir()), Path("/var/tmp"), Path.cwd()]
    usable = [place for place in places if _writable(place)]
    on_disk = [place for place in usable if filesystem_type(place) not in MEMORY_FILE_SYSTEMS]
    if not usable:
        tried = ", ".join(map(str, places))
        raise UsageError(f"No folder for scratch files: none of {tried} is writable. Give one with --scratch=DIR.")
    return (on_disk or usable)[0]


def _writable(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def _make_enterable(folder: Path) -> None:
    # A fault test may have taken the rights of a folder away; its owner can always give them back.
    if not folder.is_symlink() and not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        folder.chmod(0o700)


def _unescape(text: str) -> str:
    """Undo the octal escapes of mountinfo (space, tab, newline, backslash)."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text
