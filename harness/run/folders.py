"""Where a run writes: what the backend is told of, and what is the judge's alone."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcp_conformance.harness.errors import UsageError
from dcp_conformance.harness.run.options import Options
from dcp_conformance.harness.scratch import choose_records, choose_scratch, discard_scratch


@dataclass(frozen=True, kw_only=True)
class Folders:
    """The folders of a run, the same for all its processes."""

    #: The run folder on the file system under test: data, sockets and output of ranks.
    scratch: Path
    #: What judging processes write down; no rank gets its path or a descriptor of it.
    records: Path
    #: What event files are sealed with. It goes to workers over their channel, and is in no file and no environment.
    key: bytes

    @classmethod
    def make(cls, options: Options) -> Folders:
        """Make new ones, for the controlling process. Raises UsageError."""
        scratch = choose_scratch(options.scratch, keep=options.keep_scratch)
        # Apart from scratch, whose path every rank knows: code under test that finds the event files could add passes
        # to them.
        try:
            records = choose_records(scratch)
        except UsageError:
            discard_scratch(scratch)
            raise
        return cls(scratch=scratch, records=records, key=secrets.token_bytes(32))

    @classmethod
    def told(cls, data: Mapping[str, Any]) -> Folders:
        """Return those of a worker, from what `as_data` gave."""
        return cls(
            scratch=Path(data["dcp_scratch"]), records=Path(data["dcp_records"]), key=bytes.fromhex(data["dcp_key"])
        )

    def as_data(self) -> dict[str, str]:
        """Return what a worker is told."""
        return {"dcp_scratch": str(self.scratch), "dcp_records": str(self.records), "dcp_key": self.key.hex()}

    @property
    def events(self) -> Path:
        """Where each process has its event file."""
        return self.records / "events"

    @property
    def survey(self) -> Path:
        """Where workers find what the controlling process learnt of the backend."""
        return self.records / "survey.json"

    def discard(self, *, keep_scratch: bool) -> list[str]:
        """Remove them; sentences about what stays."""
        return discard_scratch(self.records) + ([] if keep_scratch else discard_scratch(self.scratch))
