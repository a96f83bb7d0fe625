"""The options of a run, parsed once into a frozen record; nothing else reads the command line or the environment."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dcp_conformance import HOME
from dcp_conformance.harness.contract import LEVELS
from dcp_conformance.harness.errors import UsageError

DEFAULT_RANKS = (1, 2, 4)
MOST_RANKS = 64
SHIPPED = {"torch.distributed.checkpoint": HOME / "suites" / "known_failures" / "torch.toml"}
"""Backend -> what it is known to break, where no file of known failures was named."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the person asked for."""

    backend: str
    # Never part of a repr: tracebacks show reprs, and options may be credentials.
    backend_options: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    #: Those named; () for the default.
    levels: tuple[str, ...] = ()
    #: World sizes.
    ranks: tuple[int, ...] = DEFAULT_RANKS
    device: str = "cpu"
    scratch: str | None = None
    report_dir: Path = Path("dcp-report")
    known_failures: Path | None = None
    strict: bool = False
    clauses: tuple[str, ...] = ()
    case: str | None = None
    explain: str | None = None
    second_engine: str = "reference_impl"
    fresh_ranks: bool = False
    keep_scratch: bool = False
    #: Of random data.
    seed: int = 0

    @property
    def command(self) -> tuple[str, ...]:
        """The words that repeat this run for one case; `--clause` and `--case` are added to them."""
        words = ["dcp-conformance", self.backend]
        # In one word each: a value that begins with a dash would be taken for an option of its own.
        words += [f"--backend-option={name}={value}" for name, value in self.backend_options]
        # Only what differs from the default: a reproduction line should fit on one line.
        if self.device != "cpu":
            words += ["--device", self.device]
        if self.ranks != DEFAULT_RANKS:
            words += ["--ranks", ",".join(map(str, self.ranks))]
        return tuple(words)

    @property
    def expectation(self) -> tuple[str, ...]:
        """The sentence about failures that are expected though nobody named a file of them; empty where none are."""
        if self.known_failures is None or self.known_failures != SHIPPED.get(self.backend):
            return ()
        return (
            f"what {self.backend} is known to break with this release of torch is expected, as suites/known_failures/"
            f"{self.known_failures.name} lists it (--known-failures none expects nothing)",
        )

    def as_words(self) -> str:
        """Return the command line in one string, for the certificate (redacted there)."""
        return shlex.join(self.command)


def add_options(group: Any) -> None:
    """Add the options to a pytest option group (anything with `addoption`)."""
    group.addoption(
        "--backend",
        metavar="NAME",
        help="what to certify: a module, module:Writer,Reader, a .py file, or an entry point",
    )
    group.addoption(
        "--backend-option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an option for the backend's writer; may be repeated",
    )
    group.addoption(
        "--level",
        action="append",
        default=[],
        metavar="LEVEL",
        help=f"certify these levels only, separated by commas ({', '.join(LEVELS)})",
    )
    group.addoption(
        "--ranks",
        default=",".join(map(str, DEFAULT_RANKS)),
        metavar="N,N",
        help="world sizes to run (default: %(default)s)",
    )
    group.addoption(
        "--device",
        default="cpu",
        metavar="DEVICE",
        help="cpu (default), cuda or another accelerator that torch knows, or sim: simulated ones, which hold no level",
    )
    group.addoption(
        "--scratch",
        default=None,
        metavar="DIR",
        help="the file system under test (default: a temporary folder on disk)",
    )
    group.addoption("--keep-scratch", action="store_true", help="keep the scratch folder of the run")
    group.addoption(
        "--report-dir",
        default="dcp-report",
        metavar="DIR",
        help="where certificate.json and junit.xml go (default: %(default)s)",
    )
    group.addoption(
        "--known-failures",
        default=None,
        metavar="FILE",
        help="TOML file of failures that are expected, each with its reason, or none (default: none, but for torch's "
        "own DCP the list that comes with the suites)",
    )
    # pytest has a --strict of its own (about markers and the like); here it also means that a broken SHOULD fails.
    with contextlib.suppress(ValueError):
        group.addoption("--strict", action="store_true", help="a broken SHOULD fails the run too")
    group.addoption(
        "--clause",
        action="append",
        default=[],
        metavar="ID",
        help="run the checks of these clauses only; may be repeated",
    )
    group.addoption("--case", default=None, metavar="CASE", help="run this case only, as a reproduction line names it")
    group.addoption(
        "--explain", default=None, metavar="ID", help="print a clause, its tests, its mutants and its last verdict"
    )
    group.addoption(
        "--second-engine",
        default="reference_impl",
        metavar="NAME",
        help="the engine that decides blame ('none' for none; default: %(default)s)",
    )
    group.addoption(
        "--fresh-ranks", action="store_true", help="never use a rank twice: tells poisoned ranks from defects"
    )
    group.addoption("--seed", default="0", metavar="N", help="seed of random inputs (default: %(default)s)")


def parse(get: Any, folder: Path) -> Options:
    """Return the record from `get(name)`, which answers with the raw value of an option.

    folder: what relative paths refer to. Raises UsageError, a sentence that names the option, for anything unusable.
    """
    backend, explain = get("backend"), get("explain")
    if not backend and not explain:
        raise UsageError(
            "--backend=NAME is missing: it says what to certify, for example --backend=mypkg (see --help)."
        )
    return Options(
        backend=backend or "",
        backend_options=_pairs(get("backend_option")),
        levels=_levels(_named("--level", get("level"))),
        ranks=_ranks(get("ranks")),
        device=_device(get("device")),
        scratch=_text("--scratch", get("scratch")),
        report_dir=folder / str(_text("--report-dir", get("report_dir"))),
        known_failures=_known(get("known_failures"), backend, folder),
        strict=bool(get("strict")),
        clauses=tuple(_named("--clause", get("clause"))),
        case=_text("--case", get("case")),
        explain=explain,
        second_engine=str(_text("--second-engine", get("second_engine"))),
        fresh_ranks=get("fresh_ranks"),
        keep_scratch=get("keep_scratch"),
        seed=_whole("--seed", get("seed")),
    )


def _known(given: str | None, backend: str | None, folder: Path) -> Path | None:
    if given is None:
        return SHIPPED.get(backend or "")
    return None if given == "none" else folder / str(_text("--known-failures", given))


def _text(option: str, given: str | None) -> str | None:
    """Return what an option was given. Raises UsageError for blanks: they must mean neither all nor the default."""
    if given is not None and not given.strip():
        raise UsageError(f"{option}={given}: that names nothing.")
    return given


def _split(values: Iterable[str]) -> list[str]:
    return [word.strip() for value in values for word in value.split(",") if word.strip()]


def _named(option: str, values: Iterable[str]) -> list[str]:
    """Split a list of names. Raises UsageError for one that was given and names nothing: it must not mean all."""
    given = list(values)
    names = _split(given)
    if given and not names:
        raise UsageError(f"{option}={given[-1]}: that names nothing.")
    return names


def _pairs(texts: Iterable[str]) -> tuple[tuple[str, str], ...]:
    pairs = tuple(map(_pair, texts))
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"--backend-option: {name} is given twice; a run certifies one value.")
    return pairs


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UsageError(f"--backend-option={text}: write KEY=VALUE, for example --backend-option=thread_count=2.")
    return name.strip(), value


def _levels(names: list[str]) -> tuple[str, ...]:
    for name in names:
        if name not in LEVELS:
            raise UsageError(f"--level={name}: there is no such level. The levels are {', '.join(LEVELS)}.")
    # In the order of LEVELS, each once, whatever the order on the command line.
    return tuple(level for level in LEVELS if level in names)


def _ranks(text: str) -> tuple[int, ...]:
    sizes = sorted({_whole("--ranks", word) for word in _split([text])})
    if not sizes or sizes[0] < 1 or sizes[-1] > MOST_RANKS:
        raise UsageError(f"--ranks={text}: give world sizes between 1 and {MOST_RANKS}, for example --ranks=1,2,4.")
    # Each once, in order, since the largest decides what is left out.
    return tuple(sizes)


def _device(text: str) -> str:
    # `cuda:1` is refused: ranks choose among the devices of a kind, and one alone would make all of them share it.
    if not text.isidentifier():
        raise UsageError(
            f"--device={text}: name a kind of device, as cpu, cuda or sim; ranks choose among its devices."
        )
    return text


def _whole(option: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"{option}={text}: that is not a whole number.") from None
