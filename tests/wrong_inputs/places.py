"""Places that cannot be written to or are too small, and limits of the process."""

from __future__ import annotations

from collections.abc import Mapping

from tests.wrong_inputs.options import given
from tests.wrong_inputs.wrong import LONG, Wrong, wrong

# Whoever runs this may be root, whom rights of folders do not stop: what is read-only is a mount.
READ_ONLY = "mkdir -p place && mount -t tmpfs -o ro,size=64k none place"
TINY = "mkdir -p place && mount -t tmpfs -o size={} none place"
HERE_READ_ONLY = 'here=$(pwd); mount -t tmpfs -o ro,size=64k none "$here"'
HERE_GONE = 'here=$(pwd); mv "$here" "$here.gone"; mkdir "$here"; rmdir "$here"; rm -rf "$here.gone"'

REPORTS: Mapping[str, Wrong] = {
    "report in a file": given("--report-dir=a", says=("--report-dir=a", "Not a directory"), files={"a": ""}),
    "report below a file": given("--report-dir=a/b", says=("--report-dir=a/b", "Not a directory"), files={"a": ""}),
    "report below /proc": given("--report-dir=/proc/nope", says="--report-dir=/proc/nope"),
    "report in a device": given("--report-dir=/dev/null", says="--report-dir=/dev/null"),
    "report nowhere": given("--report-dir=", says="--report-dir=: that names nothing"),
    "long report": given(f"--report-dir={LONG}", says="File name too long"),
    "long path of a report": given("--report-dir=" + "a/" * 2500, says="File name too long"),
    "report on a read-only file system": given(
        "--report-dir=place", says=("--report-dir=place", "Read-only file system"), before=READ_ONLY
    ),
    "report on a full file system": given(
        "--report-dir=place", says=("--report-dir=place", "full"), before=TINY.format("16k")
    ),
    "report in a link that leads nowhere": given(
        "--report-dir=place", says="--report-dir=place", before="ln -s /nowhere/at/all place"
    ),
    "report of somebody else": given(
        "--report-dir=.", says="is not a report of this harness", files={"certificate.json": '{"mine": true}'}
    ),
    "page of somebody else": given(
        "--report-dir=.", says="is not a report of this harness", files={"index.html": "<html>"}
    ),
    "report in a folder of that name": given(
        "--report-dir=.", says="is not a plain file", files={"certificate.json/": ""}
    ),
    "current folder read-only": given(says=("--report-dir=dcp-report", "Read-only file system"), before=HERE_READ_ONLY),
    "current folder gone": given(says="the current folder is not there", before=HERE_GONE),
    "current folder gone, for a command": wrong("report", "the current folder is not there", before=HERE_GONE),
}
SCRATCH: Mapping[str, Wrong] = {
    "no scratch": given("--scratch=", says="--scratch=: that names nothing"),
    "scratch in a file": given("--scratch=a", says=("--scratch=a", "File exists"), files={"a": ""}),
    "scratch below a file": given("--scratch=a/b", says=("--scratch=a/b", "Not a directory"), files={"a": ""}),
    "scratch below /proc": given("--scratch=/proc/nope", says="--scratch=/proc/nope"),
    "scratch in a device": given("--scratch=/dev/null", says="--scratch=/dev/null"),
    "long scratch": given(f"--scratch={LONG}", says="File name too long"),
    "scratch of somebody unknown": given("--scratch=~no_such_user/x", says="--scratch=~no_such_user/x"),
    "scratch in a link that leads nowhere": given(
        "--scratch=place", says="--scratch=place", before="ln -s /nowhere/at/all place"
    ),
    "scratch on a read-only file system": given("--scratch=place", says="--scratch=place", before=READ_ONLY),
    "scratch that is full": given(
        "--scratch=place",
        says=("place", "No space left"),
        before=TINY.format("8k") + " && head -c 8192 /dev/zero > place/x || :",
    ),
    "scratch that is small": given("--scratch=place", says=("place is full", "KiB are free"), before=TINY.format("4m")),
    "temporary folder that is not there": given(
        says="No usable temporary directory",
        before=f"{HERE_READ_ONLY}; mount -t tmpfs -o ro none /tmp; "
        "mount -t tmpfs -o ro none /var/tmp; " + "mount -t tmpfs -o ro none /dev/shm",
    ),
}
LIMITS: Mapping[str, Wrong] = {
    "few descriptors": given(says=("ulimit -n",), limits={"n": 48}),
    "small files": given(says=("ulimit -f",), limits={"f": 64}),
}
ROWS = {**REPORTS, **SCRATCH, **LIMITS}
