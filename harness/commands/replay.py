"""`replay TOKEN`: repeat a finding, and say where this machine is not the one that it was found on."""

from __future__ import annotations

import importlib.metadata
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence

from dcp_conformance import HOME
from dcp_conformance.harness.certificate.prose import plain
from dcp_conformance.harness.certificate.token import Token, decoded
from dcp_conformance.harness.commands.arguments import parser
from dcp_conformance.harness.contract import load_catalogue
from dcp_conformance.harness.errors import UsageError


def main(arguments: Sequence[str]) -> int:
    """Run the case of a token and return the exit code of the run: 1 where the finding was seen again."""
    options = parser("replay", "Repeat a finding from its token.")
    options.add_argument("token", metavar="TOKEN")
    options.add_argument("--device", default=None, help="run on this instead")
    options.add_argument("--dry-run", action="store_true", help="print the command and run nothing")
    given = options.parse_args(arguments)
    token = decoded(given.token)
    device = _device(token, given.device)
    words = token.words(device=device)
    for note in _notes(token, device):
        print(f"note: {plain(note)}")
    print(plain(shlex.join(["dcp-conformance", *words])), flush=True)
    if given.dry_run:
        return 0
    return subprocess.run([sys.executable, "-m", "dcp_conformance", *words], check=False).returncode


def _device(token: Token, asked: str | None) -> str:
    """Return where to run: as asked, as found, or on the CPU where there is no such device and the clause allows it."""
    device = asked or token.device
    if device not in ("cpu", "sim") and asked is None and not _sees(device):
        device = "cpu"
    if device == "cpu" and load_catalogue((HOME / "suites").resolve())[token.clause].gpu:
        raise UsageError(f"{token.clause} is a promise about accelerators, and this run would be on the CPU.")
    return device


def _notes(token: Token, device: str) -> Iterator[str]:
    if device != token.device:
        yield f"found on {token.device}, repeated on {device}: what only a {token.device} does is not seen here"
    for name, package, found in (("torch", "torch", token.torch), ("suite", "dcp-conformance", token.suite)):
        here = _version(package)
        if here != found:
            yield f"found with {name} {found}, here is {here}"


def _sees(kind: str) -> bool:
    """Tell whether torch can use such a device.

    Asked in another process, for importing it here would slow every command.
    """
    program = "import sys, torch; raise SystemExit(str(torch.accelerator.current_accelerator(True)) != sys.argv[1])"
    return subprocess.run([sys.executable, "-c", program, kind], capture_output=True, check=False).returncode == 0


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


if __name__ == "__main__":
    from dcp_conformance.harness.commands import main as run

    raise SystemExit(run("replay", sys.argv[1:]))
