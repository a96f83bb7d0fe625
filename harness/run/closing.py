"""The end of a run, in the controlling process: from event files to certificate, JUnit file, summary and exit code."""

from __future__ import annotations

import contextlib
import datetime
import os
import secrets as secret_words
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dcp_conformance.harness.certificate import files, terminal
from dcp_conformance.harness.certificate.build import RunInfo, build
from dcp_conformance.harness.certificate.details import detail_lines
from dcp_conformance.harness.certificate.events import read_events
from dcp_conformance.harness.certificate.facts import machine
from dcp_conformance.harness.certificate.markdown import markdown
from dcp_conformance.harness.certificate.redact import secret_values
from dcp_conformance.harness.certificate.reports import CERTIFICATE, PAGE, REPORTS
from dcp_conformance.harness.errors import UsageError
from dcp_conformance.harness.run.options import Options
from dcp_conformance.harness.run.run import Run
from dcp_conformance.harness.scratch import filesystem_type
from dcp_conformance.harness.states import checklist

# Variables of the shell that are named like a password and hold a folder.
_FOLDERS = ("PWD", "OLDPWD")


class Finish:
    """What the controlling process does with a run's events. The certificate is built once, when first asked for."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._target = run.options.report_dir / CERTIFICATE
        self._started = _now()
        self._certificate: dict[str, Any] | None = None
        #: Why the report is not where it was to be, and where it is.
        self._displaced = ""
        #: Worker -> the seal of the last line of its event file, of those that ended in order.
        self.last: dict[str, str] = {}

    def check_report_folder(self) -> None:
        """Refuse before the run what could not be written after it. Raises UsageError."""
        files.check_folder(self._target.parent, str(_shown(self._target.parent)))
        for target in (self._target, *(self._target.with_name(name) for name in REPORTS)):
            # A run takes minutes: that its report cannot be written must not be learnt at its end.
            files.check_target(target)

    def certificate(self, *, status: int, partial: Sequence[str]) -> dict[str, Any]:
        """Return the certificate, written on first use. status: pytest's own; partial: why the run was narrowed."""
        if self._certificate is None:
            run, options = self._run, self._run.options
            self._certificate = build(
                read_events(run.folders.events, key=run.folders.key, last=self.last),
                run.catalogue,
                run.surveyed.description,
                self._info(status, partial),
                run.known if options.known_failures is not None else None,
            )
            self._write(self._certificate)
            _tell_github(self._certificate)
        return self._certificate

    def _write(self, certificate: Mapping[str, Any]) -> None:
        """Write the reports; where that has become impossible since the run began, to another place."""
        reason = ""
        # The backend runs under the same user and may lock or replace the folder meanwhile; a certificate that is
        # nowhere would let it escape its verdict.
        for target in (self._target, _second_place(self._target)):
            try:
                files.write(certificate, target)
                for name, made in REPORTS.items():
                    files.write_text(made(certificate), target.with_name(name))
            except UsageError as error:
                reason = reason or str(error)
                self._displaced = f"{reason} There is no other place for it either: this page is all that is left."
            else:
                self._target = target
                self._displaced = f"{reason} The report is in {target.parent}." if reason else ""
                return

    def summary(
        self, *, status: int, partial: Sequence[str], width: int, height: int, details: bool = False
    ) -> list[str]:
        """Return the lines for the terminal.

        `details` puts everything that the certificate says in short before them.
        """
        certificate = self.certificate(status=status, partial=partial)
        before = [*detail_lines(certificate, width), ""] if details else []
        page = str(_shown(self._target.with_name(PAGE)))
        after = ["", self._displaced] if self._displaced else []
        return before + terminal.summary_lines(certificate, width, height=height, path=page) + after

    def exit_code(self, *, status: int, partial: Sequence[str]) -> int:
        """Return what the process exits with; never 0 where the report is not where it was to be."""
        decided = int(self.certificate(status=status, partial=partial)["run"]["exit_status"])
        # A CI job looks for the report where it asked for it: an older one there must not pass for this run's.
        return decided or int(bool(self._displaced))

    def clean_up(self) -> list[str]:
        """Remove what the run wrote below the scratch folder, unless it was to be kept; sentences about what stays."""
        return self._run.folders.discard(keep_scratch=self._run.options.keep_scratch)

    def _info(self, status: int, partial: Sequence[str]) -> RunInfo:
        options, surveyed = self._run.options, self._run.surveyed
        return RunInfo(
            suite_version=surveyed.versions["suite"],
            python=surveyed.versions["python"],
            machine=machine(),
            scratch_file_system=filesystem_type(self._run.folder),
            world_sizes=options.ranks,
            started=self._started,
            ended=_now(),
            levels=self._run.levels,
            asked=options.levels,
            device=options.device,
            devices=surveyed.devices,
            seed=options.seed,
            command=options.as_words(),
            backend_options=dict(options.backend_options),
            strict=options.strict,
            partial=partial,
            errors=(),
            pytest_status=status,
            secrets=secrets(options),
            notes=(*options.expectation, *surveyed.notes),
            checklist=checklist.as_data(),
        )


def _second_place(target: Path) -> Path:
    """Return a new folder that nobody has heard of before, for the same reports."""
    return Path(tempfile.gettempdir(), f"dcp-report-{secret_words.token_hex(4)}", target.name)


def secrets(options: Options) -> tuple[str, ...]:
    """Return the values of options and environment variables named like secrets: no text may show them."""
    # Redacting the working directory would blacken half of every path in the report.
    surroundings = {name: value for name, value in os.environ.items() if name not in _FOLDERS}
    return secret_values({**surroundings, **dict(options.backend_options)})


def _tell_github(certificate: Mapping[str, Any]) -> None:
    """Put the summary on the page of the run, where GitHub's runner says which file that is."""
    place = os.environ.get("GITHUB_STEP_SUMMARY")
    # What the runner does with the file is not worth losing a certificate for.
    with contextlib.suppress(OSError):
        if place:
            with Path(place).open("a", encoding="utf-8") as file:
                file.write(markdown(certificate))


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
