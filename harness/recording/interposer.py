"""The means that is left where the kernel shows no calls: Python's own functions are replaced while a job is watched.

It sees what goes through `open`, `io` and `os` of this process, and nothing that C, C++ or Rust does by itself, nor
children. A recording says so by its means, and replaying it tells whether something was missed.
"""

from __future__ import annotations

import base64
import builtins
import contextlib
import io
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

MEANS = "Python calls only"
_AT_ONCE = 1 << 16  # bytes in one message to the supervisor; a larger write is noted in parts
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_DIRECT = os.O_DSYNC

Ask = Callable[..., dict[str, Any]]


class Interposer:
    """Replaces functions while its `in_place` is open; `ask` reaches the supervisor."""

    def __init__(self, ask: Ask, watched: str) -> None:
        self._ask, self._watched = ask, os.path.realpath(watched)
        self._process = os.getpid()
        self._paths: dict[int, str] = {}  # descriptors opened below the watched folder
        # The originals, taken before anything is replaced, or a write would note itself without end.
        self._open, self._os_open, self._write, self._pwrite = builtins.open, os.open, os.write, os.pwrite

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Python's functions are ours."""
        with contextlib.ExitStack() as stack:
            # An ExitStack puts all back in reverse, however the watched code ends.
            for name in ("mkdir", "rmdir", "unlink", "remove", "rename", "replace", "link", "symlink", "truncate"):
                stack.enter_context(mock.patch.object(os, name, self._of_names(name, getattr(os, name))))
            for name in ("fsync", "fdatasync", "ftruncate", "close"):
                stack.enter_context(mock.patch.object(os, name, self._of_descriptor(name, getattr(os, name))))
            for name in ("write", "pwrite", "writev", "pwritev"):
                stack.enter_context(mock.patch.object(os, name, self._writing(name, getattr(os, name))))
            stack.enter_context(mock.patch.object(os, "open", self._opening))
            stack.enter_context(mock.patch.object(io, "open", self._opening_stream))
            stack.enter_context(mock.patch.object(builtins, "open", self._opening_stream))
            yield

    # -- what every call does ----------------------------------------------------------------------------------------

    def perform(self, call: str, path: str, do: Callable[[], Any], found: Callable[[Any], dict[str, Any]]) -> Any:
        """Ask for a fault, do it, and tell what was done. found: details, from what `do` returned."""
        fault = self._fault(call, path)
        if fault.get("action") == "error":
            # On Linux the descriptor is gone even where close fails; a second close could hit another file of that
            # number.
            if call == "close":
                do()
            self._note(call, path, failed=fault["errno"])
            raise OSError(fault["errno"], os.strerror(fault["errno"]), path)
        try:
            result = do()
        except OSError as error:
            self._note(call, path, failed=error.errno or 5)
            raise
        self._note(call, path, **found(result))
        return result

    def written(self, number: int, data: bytes, offset: int, do: Callable[[bytes], int]) -> int:
        """Write through `do`, which says how many bytes it took."""
        path = self._paths[number]
        fault = self._fault("write", path)
        if fault.get("action") == "error":
            self._note("write", path, failed=fault["errno"], **self._identity(number))
            raise OSError(fault["errno"], os.strerror(fault["errno"]), path)
        # At least one byte: a write that took none would make callers that loop go round for ever.
        count = do(data[: max(1, len(data) // 2)] if fault.get("action") == "short" else data)
        # `count`, not the length: only what the system took was written.
        for start in range(0, count, _AT_ONCE):
            part = base64.b64encode(data[start : min(count, start + _AT_ONCE)]).decode()
            self._note("write", path, data=part, offset=offset + start, **self._identity(number))
        return count

    def inside(self, path: Any, *, follow: bool = False) -> str | None:
        """Return a path relative to the watched folder; None for one outside, and for what is no path."""
        if isinstance(path, int):
            return self._paths.get(path)
        text = os.path.abspath(os.fsdecode(path))
        folder, name = os.path.split(text)
        # A call on a name means the link itself: only the folders before it are followed.
        real = os.path.realpath(text) if follow else os.path.join(os.path.realpath(folder), name)
        if real == self._watched:
            return ""
        return real[len(self._watched) + 1 :] if real.startswith(self._watched + "/") else None

    def keep(self, number: int, path: str) -> None:
        """Remember by which path a descriptor was opened."""
        self._paths[number] = path

    def opened(self, number: int, existed: bool, size: int, flags: int) -> dict[str, Any]:
        """Return what an open did."""
        return {
            **self._identity(number, new=not existed), "created": not existed,
            "truncated": bool(flags & os.O_TRUNC and size), "synchronous": bool(flags & _DIRECT),
        }  # fmt: skip

    def _identity(self, number: int, *, new: bool = False) -> dict[str, Any]:
        found = os.fstat(number)
        return {"identity": [found.st_dev, found.st_ino], "new": new}

    def _fault(self, call: str, path: str) -> dict[str, Any]:
        if os.getpid() != self._process:
            return {}  # a forked child must not speak for its parent; what it does is missed
        fault = self._ask("fault", call=call, path=path, thread=threading.get_native_id())
        if fault["action"] == "slow":
            time.sleep(fault["seconds"])
        return fault

    def _note(self, call: str, path: str, **details: Any) -> None:
        if os.getpid() == self._process:
            self._ask("note", call=call, path=path, thread=threading.get_native_id(), details=details)

    # -- replacements ------------------------------------------------------------------------------------------------

    def _of_names(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        call = {"remove": "unlink", "replace": "rename"}.get(name, name)

        def replacement(*args: Any, **kwargs: Any) -> Any:
            # With a folder's descriptor it cannot be told what is meant; replaying tells whether it mattered.
            paths = [None if kwargs else self.inside(arg) for arg in args[:2] if not isinstance(arg, int)]
            if name == "symlink":
                paths = [paths[1], os.fsdecode(args[0])]
            if not paths or paths[0] is None:
                return original(*args, **kwargs)
            more: dict[str, Any] = {"target": paths[1]} if call in ("rename", "link", "symlink") else {}
            more |= {"offset": args[1]} if call == "truncate" else {}
            return self.perform(call, paths[0], lambda: original(*args, **kwargs), lambda _: more)

        return replacement

    def _of_descriptor(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        call = {"fdatasync": "fsync", "ftruncate": "truncate"}.get(name, name)

        def replacement(number: Any, *args: Any) -> Any:
            plain = number if isinstance(number, int) else number.fileno()
            path = self._paths.get(plain)
            if path is None:
                return original(number, *args)
            more = {**self._identity(plain), **({"offset": args[0]} if args else {})}
            if name == "close":
                # Before the close: from its return on, another thread may be given the same number.
                del self._paths[plain]
            return self.perform(call, path, lambda: original(number, *args), lambda _: more)

        return replacement

    def _writing(self, name: str, original: Callable[..., int]) -> Callable[..., int]:
        def replacement(number: int, data: Any, *args: Any) -> int:
            if number not in self._paths:
                return original(number, data, *args)
            # As bytes: it comes as any kind of buffer, and may be halved and noted in parts.
            whole = b"".join(map(bytes, data)) if name.endswith("v") else bytes(data)
            if name.startswith("p"):
                return self.written(number, whole, args[0], lambda part: self._pwrite(number, part, args[0]))
            # A plain write goes where the descriptor stands, which no argument says.
            offset = os.lseek(number, 0, os.SEEK_CUR)
            return self.written(number, whole, offset, lambda part: self._write(number, part))

        return replacement

    def _opening(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        place = None if dir_fd is not None else self.inside(path, follow=not flags & os.O_NOFOLLOW)
        if place is None:
            return self._os_open(path, flags, mode, dir_fd=dir_fd)
        if not flags & _WRITING:
            number = self._os_open(path, flags, mode)
        else:
            existed, size = os.path.lexists(path), os.path.getsize(path) if os.path.exists(path) else 0
            number = self.perform(
                "open", place, lambda: self._os_open(path, flags, mode),
                lambda number: self.opened(number, existed, size, flags),
            )  # fmt: skip
        self.keep(number, place)
        return number

    def _opening_stream(
        self, file: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, errors: Any = None,
        newline: Any = None, closefd: bool = True, opener: Any = None,
    ) -> Any:  # fmt: skip
        place = self.inside(file, follow=True)
        if place is None or not set(mode) & set("wxa+"):
            return self._open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        raw = _Raw(self, file, mode.replace("b", "").replace("t", ""), closefd, opener)
        if buffering == 0:
            return raw
        size = buffering if buffering > 1 else io.DEFAULT_BUFFER_SIZE
        stream: Any = io.BufferedRandom(raw, size) if "+" in mode else io.BufferedWriter(raw, size)
        return stream if "b" in mode else io.TextIOWrapper(stream, encoding, errors, newline)


class _Raw(io.FileIO):
    """A file below the watched folder, as Python's buffers see it."""

    def __init__(self, owner: Interposer, file: Any, mode: str, closefd: bool, opener: Any) -> None:
        self._owner, self._ours = owner, True
        if isinstance(file, int) or opener is not None:
            super().__init__(file, mode, closefd, opener)  # it was, or will be, opened by the replacement of os.open
            self._ours = opener is not None
            return
        place = owner.inside(file, follow=True)
        assert place is not None
        existed, size = os.path.lexists(file), os.path.getsize(file) if os.path.exists(file) else 0
        flags = os.O_TRUNC if "w" in mode else 0
        # The class is named in full: in a lambda, super() has no frame to look into.
        owner.perform(
            "open", place, lambda: io.FileIO.__init__(self, file, mode, closefd),
            lambda _: owner.opened(self.fileno(), existed, size, flags),
        )  # fmt: skip
        owner.keep(self.fileno(), place)

    def write(self, data: Any) -> int:
        whole = bytes(data)
        offset = os.fstat(self.fileno()).st_size if "a" in self.mode else self.tell()
        return self._owner.written(self.fileno(), whole, offset, super().write) if whole else 0

    def truncate(self, size: int | None = None) -> int:
        wanted = self.tell() if size is None else size
        os.ftruncate(self.fileno(), wanted)
        return wanted

    def close(self) -> None:
        if self.closed:
            return
        number = self.fileno()
        path = self._owner.inside(number)
        if path is None or not self.closefd:
            super().close()
            return
        details = self._owner._identity(number)
        del self._owner._paths[number]
        self._owner.perform("close", path, super().close, lambda _: details)
