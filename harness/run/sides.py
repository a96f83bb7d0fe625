"""The three kinds of process that run our suites: one that is alone, or pytest-xdist's controller and its workers.

Alone       surveys the backend before it collects, judges every case, makes the certificate
Controller  collects and judges nothing; surveys while its workers start, tells them, makes the certificate
Worker      waits for the survey, judges its share of the cases, tells the controller how its event file ends
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from dcp_conformance.harness.backend.locate import locate
from dcp_conformance.harness.backend.server import Server
from dcp_conformance.harness.contract import Catalogue
from dcp_conformance.harness.errors import UsageError
from dcp_conformance.harness.run.closing import Finish
from dcp_conformance.harness.run.folders import Folders
from dcp_conformance.harness.run.options import Options
from dcp_conformance.harness.run.process_limits import check_limits
from dcp_conformance.harness.run.run import Run
from dcp_conformance.harness.run.stopping import StopSignals, end_workers
from dcp_conformance.harness.run.store import Store
from dcp_conformance.harness.verdicts.known_failures import KnownFailures


class Side:
    """What they have in common: a run, and the store that the backend's record starts."""

    surveys_at_start = False
    #: Who makes the certificate; None in a worker.
    finish: Finish | None = None

    def __init__(self, run: Run) -> None:
        self.run = run
        self.store: Store | None = None
        self._is_closed = False

    def survey(self) -> None:
        """Learn what the backend is and start what it needs. Raises UsageError."""
        surveyed = self.run.surveyed
        # A server is started by the process that judges, so that each worker has ports and data of its own.
        if surveyed.has_server:
            server = Server(self.run.options.backend, self.run.options.backend_options, self.run.cwd)
            self.store = Store(server, self.run)
            self.store.start()
        elif surveyed.description.patience != 1.0:
            self.run.restart({})

    def is_called_off(self) -> bool:
        """Tell whether another process found the backend unusable."""
        return False

    def tell(self, node: Any) -> None:
        """Give a worker that is about to start what it needs to join this run."""

    def hear(self, told: Mapping[str, Any], worker: str) -> str:
        """Take what a worker said at its end. Returns why it refused to run, empty where it did not."""
        return ""

    def end(self, refused: str) -> None:
        """Say how the event file of this process ends, to the process that will read it."""

    def interrupt(self) -> None:
        """Do what Ctrl-C asks for beyond ending this process."""

    def close(self) -> list[str]:
        """End what this process started; may be called twice. Returns sentences about what stays."""
        if self._is_closed:
            return []
        self._is_closed = True
        self.run.close()
        if self.store is not None:
            self.store.stop()
        return self._clean_up()

    def _clean_up(self) -> list[str]:
        return []


class Alone(Side):
    """The only process of a run."""

    surveys_at_start = True
    controls = False

    def __init__(self, options: Options, catalogue: Catalogue, known: KnownFailures, cwd: str) -> None:
        folders = Folders.make(options)
        super().__init__(Run(options, catalogue, folders, worker="main", cwd=cwd, known=known, controls=self.controls))
        self.finish: Finish = Finish(self.run)
        self._signals = StopSignals()
        try:
            self._signals.install()
            # Before the ranks are started: a mistake of the user costs a moment.
            self.finish.check_report_folder()
            # It imports torch for seconds while pytest collects.
            self.run.cluster.launch()
        # Ctrl-C too: pytest calls no unconfigure of a plugin that was never registered.
        except BaseException:
            self.close()
            raise

    def end(self, refused: str) -> None:
        self.finish.last[self.run.worker] = self.run.log.last

    def _clean_up(self) -> list[str]:
        stays = self.finish.clean_up()
        self._signals.restore()
        return stays


class Controller(Alone):
    """The process of an xdist run that has workers, and judges nothing."""

    # The workers start and collect while it surveys.
    surveys_at_start = False
    controls = True

    def survey(self) -> None:
        try:
            self.run.tell_workers(self.run.surveyed.as_json())
        except UsageError:
            # Workers wait for an answer; without one each would wait until its limit.
            self.run.tell_workers("")
            raise

    def tell(self, node: Any) -> None:
        node.workerinput.update(self.run.folders.as_data())

    def hear(self, told: Mapping[str, Any], worker: str) -> str:
        # A worker that was killed says nothing: its event file then counts as cut.
        if "dcp_seal" in told:
            self.finish.last[worker] = told["dcp_seal"]
        return str(told.get("dcp_refused", ""))

    def interrupt(self) -> None:
        end_workers(keep={self.run.cluster.server_pid()})


class Worker(Side):
    """A process of an xdist run that judges a share of the cases."""

    def __init__(
        self, options: Options, catalogue: Catalogue, known: KnownFailures, cwd: str, config: pytest.Config
    ) -> None:
        given = config.workerinput  # type: ignore[attr-defined]
        super().__init__(Run(options, catalogue, Folders.told(given), worker=given["workerid"], cwd=cwd, known=known))
        self._told: dict[str, Any] = config.workeroutput  # type: ignore[attr-defined]

    def is_called_off(self) -> bool:
        return self.run.is_called_off()

    def end(self, refused: str) -> None:
        self._told.update(dcp_seal=self.run.log.last, dcp_refused=refused)


def side_of(config: pytest.Config, options: Options, catalogue: Catalogue, known: KnownFailures) -> Side:
    """Start this process's part of the run. Raises UsageError."""
    cwd = str(config.invocation_params.dir)
    # Before any process is started: most mistyped names are found without importing anything.
    locate(options.backend, cwd)
    check_limits()
    if options.second_engine not in ("none", "reference_impl"):
        _locate_second(options.second_engine, cwd)
    if hasattr(config, "workerinput"):
        return Worker(options, catalogue, known, cwd, config)
    kind = Controller if config.getoption("numprocesses", None) else Alone
    return kind(options, catalogue, known, cwd)


def _locate_second(name: str, cwd: str) -> None:
    try:
        locate(name, cwd)
    except UsageError as error:
        # A mistyped name would leave every failure without blame.
        why = str(error).replace(f"--backend={name}: ", "", 1)
        raise UsageError(f"--second-engine={name} cannot be used ('none' for none): {why}") from None
