"""One process's part of a run: its folder, its ranks, its judge and its event log. No pytest, no torch."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from dcp_conformance.harness.backend.capabilities import contradiction
from dcp_conformance.harness.backend.description import Surveyed
from dcp_conformance.harness.backend.locate import locate
from dcp_conformance.harness.backend.torch_release import check_torch
from dcp_conformance.harness.certificate.events import EventLog
from dcp_conformance.harness.cluster import Cluster, ClusterConfig, Died, Hung, Outcome, Raised, Returned
from dcp_conformance.harness.cluster.errors import ServerLost
from dcp_conformance.harness.contract import LEVELS, Catalogue, Clause
from dcp_conformance.harness.errors import UsageError
from dcp_conformance.harness.laws.verbs import described
from dcp_conformance.harness.run.folders import Folders
from dcp_conformance.harness.run.options import SHIPPED, Options
from dcp_conformance.harness.subject.spec import TORCH_ENGINE, Part
from dcp_conformance.harness.verdicts import known_failures
from dcp_conformance.harness.verdicts.judge import Judge
from dcp_conformance.harness.verdicts.known_failures import KnownFailures
from dcp_conformance.harness.verdicts.ownership import Applicability, applicability, has_own_store, owned_letters
from dcp_conformance.harness.verdicts.trials import Bench

# The scale level stores values beyond 4 GiB; below this much memory it is run only when it is named.
SCALE_MEMORY = 12 << 30
_SURVEYING = "dcp_conformance.harness.backend.survey:survey"
_SURVEY_LIMIT = 300
_OUTPUT_LINES = 8


class Run:
    """What one pytest process needs to judge cases. The `folders` were made by the controlling process for this run."""

    def __init__(
        self,
        options: Options,
        catalogue: Catalogue,
        folders: Folders,
        *,
        worker: str,
        cwd: str,
        known: KnownFailures,
        controls: bool = False,
    ) -> None:
        """Start no process yet.

        known: the failures that the author expects. controls: this process judges nothing, and lends its server's
        imports to the workers that do.
        """
        check_torch()
        self.options, self.catalogue, self.folders, self.worker, self.cwd = options, catalogue, folders, worker, cwd
        self.folder, self.known = folders.scratch, known
        self._controls = controls
        self.log = EventLog.for_worker(_made(folders.events), worker, key=folders.key)
        self._surveyed: Surveyed | None = None
        self._judge: Judge | None = None
        self.cluster = self._new_cluster({})

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels of this run: those named, or those that this machine has the hardware for."""
        if self.options.levels:
            return self.options.levels
        lacking = {"accelerator"} if self.options.device == "cpu" else set()
        if _memory() < SCALE_MEMORY:
            lacking.add("scale")
        return tuple(level for level in LEVELS if level not in lacking)

    @property
    def surveyed(self) -> Surveyed:
        """The backend as surveyed on first use: in a throw-away process, or by the process that controls this one."""
        if self._surveyed is None:
            # Surveyed once for all workers: they must agree on what the backend is, and its import may cost seconds.
            if self.worker == "main":
                found = survey(self.cluster, self.options, self.cwd)
                self._surveyed = probed(self.cluster, self.options, self.cwd, found)
            else:
                self._surveyed = Surveyed.from_json(_told(self.folders.survey))
        return self._surveyed

    def tell_workers(self, survey: str) -> None:
        """Let the processes that this one controls know the survey, or nothing if it failed; they wait for it."""
        unfinished = self.folders.survey.with_suffix(".tmp")
        unfinished.write_text(survey)
        # Workers poll for the name: by renaming they never find half of the text.
        unfinished.rename(self.folders.survey)

    def is_called_off(self) -> bool:
        """Tell whether the process that controls this one found the backend unusable; waits until it knows."""
        return not _told(self.folders.survey)

    @property
    def judge(self) -> Judge:
        """The judge of this process."""
        if self._judge is None:
            self._judge = Judge(
                bench(self.options, self.surveyed, self.folder, self.cwd, worker=self.worker),
                self.cluster,
                known=self.known,
                torchs=_known_of_torch(),
            )
        return self._judge

    def applicability(self, clause: Clause) -> Applicability:
        """Tell whether a clause binds this backend, on this hardware."""
        return applicability(clause, self.surveyed.description, devices=self.surveyed.devices)

    def restart(self, environment: Mapping[str, str]) -> None:
        """Start ranks anew: with the environment by which they find a backend's server, and with its patience."""
        self.cluster.close()
        self.cluster = self._new_cluster(environment)
        # A judge holds on to the cluster that it was made with.
        self._judge = None

    def close(self) -> None:
        """End every process that this run started; may be called twice."""
        self.cluster.close()
        self.log.close()

    def _new_cluster(self, environment: Mapping[str, str]) -> Cluster:
        # The first cluster only surveys; one that a backend asked more patience for is made after that.
        patience = 1.0 if self._surveyed is None else self._surveyed.description.patience
        nursery = self.folder / "nursery"
        # A branch has the environment and the measuring of the server that it was forked from, so only a plain one is
        # shared.
        shares = not environment and not _coverage_is_on()
        return Cluster(
            ClusterConfig(
                # Socket and file-store paths have short limits, and the run folder may lie deep.
                folder=Path(tempfile.mkdtemp(prefix=f"ranks-{self.worker}-", dir=self.folder)),
                optional_preload=_modules(self.cwd, self.options.backend, self.options.second_engine),
                search_path=(self.cwd,),
                environment=dict(environment),
                fresh_ranks=self.options.fresh_ranks,
                device=self.options.device,
                quiet_limit=15.0 * patience,
                total_limit=60.0 * patience,
                coverage=_coverage_is_on(),
                patience=patience,
                nursery=nursery if shares and self._controls else None,
                branch_of=nursery if shares and self.worker != "main" else None,
            )
        )


def _known_of_torch() -> KnownFailures:
    """What the torch that is installed here is known to break."""
    return known_failures.load(SHIPPED[TORCH_ENGINE])


def _told(place: Path) -> str:
    """Return what the controlling process writes here as soon as it knows it; it ends its workers if it never will."""
    deadline = time.monotonic() + _SURVEY_LIMIT
    while not place.exists():
        if time.monotonic() > deadline:
            raise UsageError(f"The process that controls this worker did not survey the backend in {_SURVEY_LIMIT} s.")
        time.sleep(0.01)
    return place.read_text()


def bench(options: Options, surveyed: Surveyed, folder: Path, cwd: str, *, worker: str) -> Bench:
    """Return what stays the same for all cases of a run of this backend."""
    letters = owned_letters(surveyed.description)
    own = Part(reference=options.backend, options=options.backend_options, lacks=surveyed.lacks)
    return Bench(
        backend=own,
        letters=letters,
        own_store=has_own_store(surveyed.description),
        engine=own if "E" in letters else Part(reference=TORCH_ENGINE),
        functions=frozenset(surveyed.description.functions),
        second=None if surveyed.second is None else Part(reference=surveyed.second),
        scratch=str(_made(folder / "data")),
        folder=cwd,
        worker=worker,
        command=options.command,
        patience=surveyed.description.patience,
        keep=options.keep_scratch,
    )


def survey(cluster: Cluster, options: Options, cwd: str) -> Surveyed:
    """Ask a throw-away process what the backend is. Raises UsageError when it cannot be used."""
    asked = (options.backend, options.backend_options, options.second_engine, options.device, cwd)
    try:
        outcome = cluster.call(_SURVEYING, *asked)
    # Once may be this machine, out of memory for instance; twice is what the import does.
    except ServerLost:
        try:
            outcome = cluster.call(_SURVEYING, *asked)
        except ServerLost as error:
            raise UsageError(f"--backend={options.backend}: while it was being imported, twice, {error}") from None
    if isinstance(outcome, Returned):
        surveyed = outcome.value
        assert isinstance(surveyed, Surveyed)
        return surveyed
    raise UsageError(_unusable(options.backend, outcome))


def probed(cluster: Cluster, options: Options, cwd: str, surveyed: Surveyed) -> Surveyed:
    """Return the survey, without capabilities that one save shows a plain module not to have; a note says each."""
    outcome = cluster.call(
        "dcp_conformance.harness.backend.probe:contradicted", options.backend, options.backend_options, cwd
    )
    if not isinstance(outcome, Returned) or not outcome.value:
        return surveyed  # a save that fails, dies or hangs here will do so in front of a judge
    found = surveyed.description
    lacks: dict[str, str] = outcome.value
    notes = tuple(contradiction(found.name, capability, seen) for capability, seen in lacks.items())
    # Letters follow from capabilities: a format that was seen not to be torch's is not owned.
    letters = tuple(letter for letter in found.letters if letter != "F" or "torch_format" not in lacks)
    unsupported = {**lacks, **found.unsupported}
    described = replace(found, letters=letters, unsupported=unsupported, notes=(*found.notes, *notes))
    return replace(surveyed, description=described, lacks=tuple(lacks.items()))


def _unusable(name: str, outcome: Outcome) -> str:
    if isinstance(outcome, Raised):
        if outcome.error.is_a("UsageError"):
            return outcome.error.text
        return f"--backend={name}: importing it raised {described(outcome.error)}\n{outcome.error.traceback}"
    ended = f"--backend={name}: while it was being imported, {_end(outcome)}."
    return "\n".join([ended, *_their_lines(outcome.stack if isinstance(outcome, Hung) else outcome.output)])


def _end(outcome: Outcome) -> str:
    if isinstance(outcome, Died):
        how = f"by signal {outcome.signal}" if outcome.signal else f"with exit code {outcome.exit_code}"
        return f"the process ended {how}"
    if isinstance(outcome, Hung):
        return f"nothing came back for {outcome.waited:.0f} s. What waits belongs into a function (start() of a record)"
    return str(outcome)


def _their_lines(output: str) -> list[str]:
    """The last lines of what was printed meanwhile, without frames of ours and of the import system."""
    ours = ("dcp_conformance", "importlib", "Extension modules:", "<string>")
    lines = [line for line in output.splitlines() if line.strip() and not any(word in line for word in ours)]
    return lines[-_OUTPUT_LINES:]


def _modules(cwd: str, *references: str) -> tuple[str, ...]:
    """Return the modules worth importing once, before ranks are forked; what cannot be found is left to the ranks."""
    names = []
    for reference in references:
        with contextlib.suppress(UsageError):
            located = locate(reference, cwd)
            # A file has no module name that a rank could find again after the fork.
            names += [located.module] if located.kind != "file" else []
    return tuple(names)


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def _coverage_is_on() -> bool:
    """Tell whether this process is measured by coverage.py: then its ranks are too."""
    measuring = sys.modules.get("coverage")
    return measuring is not None and measuring.Coverage.current() is not None


def _memory() -> int:
    """Physical memory of this machine, bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
