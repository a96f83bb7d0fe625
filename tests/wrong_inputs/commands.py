"""Commands that need no run, with arguments that cannot be used."""

from __future__ import annotations

from collections.abc import Mapping

from tests.wrong_inputs.places import READ_ONLY
from tests.wrong_inputs.wrong import LONG, Wrong, wrong

_READING = ("report", "verify", "known k.toml --from", "bundle TYPE-02", "diff absent.json")
_OTHER = {"c.json": "{}"}

ROWS: Mapping[str, Wrong] = {
    **{
        f"{words} without a certificate": wrong(f"{words} absent.json", "Cannot read a certificate from absent.json")
        for words in _READING
    },
    **{
        f"{words} of another file": wrong(f"{words} c.json", "c.json is not a valid certificate", files=_OTHER)
        for words in ("report", "known k.toml --from", "bundle TYPE-02", "diff c.json")
    },
    "verify of another file": wrong("verify c.json", "is not to be relied on", code=1, files=_OTHER),
    "report of bytes": wrong("report c.json", "Cannot read a certificate", files={"c.json": b"\xff\x00"}),
    "report of a deep file": wrong("report c.json", "Cannot read a certificate", files={"c.json": "[" * 100_000}),
    "long report": wrong(("report", LONG), "Cannot read a certificate"),
    "report with a typo": wrong("report --pagge", "unrecognized arguments: --pagge"),
    "explain of nothing": wrong("explain", "required: ID"),
    "explain of an unknown clause": wrong("explain TYPE-2", "no clause 'TYPE-2'", "TYPE-02"),
    "explain of an empty clause": wrong(("explain", ""), "no clause ''"),
    "explain of a long clause": wrong(("explain", LONG), "no clause"),
    "diff of one": wrong("diff", "required"),
    "replay of nothing": wrong("replay", "required"),
    "replay of nonsense": wrong("replay hello", "hello"),
    "replay of a long token": wrong(("replay", LONG), "token"),
    "contract in a folder that is not empty": wrong("contract .", "is not an empty folder", files={"a": ""}),
    "contract in a file": wrong("contract a", "is not an empty folder", files={"a": ""}),
    "contract on a read-only file system": wrong("contract place/x", "Read-only file system", before=READ_ONLY),
}
