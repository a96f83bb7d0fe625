"""The scratch folder: the one place a run writes to, on the file system under test."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

from dcp_conformance.harness.errors import UsageError

# Proves that a folder was made by a run and may be deleted with all that is in it.
MARKER = ".dcp-conformance-run"
_PREFIX = "dcp-conformance-"
# The last line of the marker of a folder that a later run may sweep once the lock on the marker is free.
_CLAIMED = b"locked\n"
_REMOVE_LIMIT = 60.0
# Less than this is full after a few cases, and each failure would look like the backend's.
_ROOM = 64 << 20
# The run folders that this process made -> the descriptor that holds the marker's lock.
_HELD: dict[Path, int] = {}

# fsync does nothing on these, so a store that forgets it would look durable.
MEMORY_FILE_SYSTEMS = frozenset({"tmpfs", "ramfs"})


def choose_scratch(option: str | None, *, keep: bool = False) -> Path:
    """Make a fresh run folder and return it; folders of runs that were killed there are swept first.

    It lies below ``option`` (``--scratch``), which is created if it is not there; without one, below the first of
    the temporary folder, ``/var/tmp`` and the current folder that is on disk and writable. Nothing else in that
    folder is ever touched. ``keep``: no later run may sweep it. Raises UsageError when nothing can be written there.
    """
    parent = _given(option) if option is not None else _default()
    sweep(parent)
    folder = _new(parent, keep=keep)
    free = shutil.disk_usage(folder)
    # A file system that does not say how large it is says nothing of what is free either.
    if free.total and free.free < _ROOM:
        discard_scratch(folder)
        raise UsageError(
            f"The scratch folder {parent} is full: {free.free >> 10} KiB are free, and a run needs {_ROOM >> 20} MiB. "
            "Give another --scratch."
        )
    return folder


def choose_records(scratch: Path) -> Path:
    """Make the folder for what the judge writes down during a run, and return it.

    It lies apart from the run folder `scratch`, and a backend is told of it nowhere; nobody else may look into it.
    """
    places = (Path(tempfile.gettempdir()), scratch.parent)
    place = next(place for place in places if _writable(place) or place == scratch.parent)
    sweep(place)
    return _new(place, keep=False)


def _new(parent: Path, *, keep: bool) -> Path:
    try:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent)).resolve()
    except OSError as error:
        raise UsageError(_no_folder(parent, error)) from None
    try:
        _claim(folder, keep=keep)
    except OSError as error:
        discard_scratch(folder)
        raise UsageError(_no_folder(parent, error)) from None
    return folder


def _no_folder(parent: Path, error: OSError) -> str:
    return f"No run folder can be made in {parent}: {error.strerror}. Give another --scratch."


def discard_scratch(folder: Path) -> list[str]:
    """Delete a run folder made by choose_scratch; sentences about what could not be removed.

    Raises ValueError for any other folder. That this process made it is remembered here: a backend may have deleted
    the marker.
    """
    if folder not in _HELD and not (folder / MARKER).is_file():
        raise ValueError(f"{folder} was not made by a run ({MARKER} is missing), so it is not deleted.")
    _remove(folder)
    descriptor = _HELD.pop(folder, None)
    if descriptor is not None:
        os.close(descriptor)
    if not os.path.lexists(folder):
        return []
    return [f"The run's folder {folder} could not be removed whole; what is left of it is the backend's."]


def sweep(parent: Path) -> None:
    """Remove the run folders in `parent` whose run was killed: this user's, claimed, and locked by nobody."""
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
                continue
            # A backend may have put anything in the marker's place: a pipe must not block the open.
            marker = os.open(folder / MARKER, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            stack.callback(os.close, marker)
            if stat.S_ISREG(os.fstat(marker).st_mode) and os.read(marker, 64).endswith(_CLAIMED):
                fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(folder)


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
    try:
        folder = Path(option).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
    # RuntimeError: there is no user of that name.
    except (OSError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or error
        raise UsageError(f"--scratch={option}: not a folder, and it cannot be made: {why}.") from None
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


def _claim(folder: Path, *, keep: bool) -> None:
    """Mark the folder as a run's, and hold the marker's lock for as long as this process lives."""
    marker = os.open(folder / MARKER, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    _HELD[folder] = marker
    text = str(os.getpid()).encode() + b"\n"
    with contextlib.suppress(OSError):  # a file system without locks: its folders are never swept
        fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
        text += b"" if keep else _CLAIMED
    os.write(marker, text)


def _remove(folder: Path) -> None:
    """Remove as much as can be; `rm` takes what Python's own removal does not, thousands of nested folders for one."""
    with contextlib.suppress(OSError, RecursionError):
        for path, folders, _ in os.walk(folder):
            for name in folders:
                _make_enterable(Path(path, name))
        shutil.rmtree(folder)
    if os.path.lexists(folder):
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            command = ["rm", "-rf", "--one-file-system", "--", str(folder)]
            subprocess.run(command, stderr=subprocess.DEVNULL, check=False, timeout=_REMOVE_LIMIT)


def _make_enterable(folder: Path) -> None:
    # A fault test may have taken the rights of a folder away; its owner can always give them back.
    if not folder.is_symlink() and not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        folder.chmod(0o700)


def _unescape(text: str) -> str:
    """Undo the octal escapes of mountinfo (space, tab, newline, backslash)."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text
