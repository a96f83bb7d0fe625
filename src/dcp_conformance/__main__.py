"""`python -m dcp_conformance` is the command `dcp-conformance`."""

from __future__ import annotations

from dcp_conformance.command import main

if __name__ == "__main__":
    raise SystemExit(main())
