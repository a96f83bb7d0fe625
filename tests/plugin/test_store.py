"""A store that dies during a run is not the backend's defect; what start() gave is shown to nobody; nothing stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugin.command import certify

CASE = ("--clause", "TYPE-02", "--case", "ordinary_dtype_comes_back_bit_for_bit[bfloat16-constructor]")
# Its store is a process that it needs to be alive; a save of bfloat16 ends it, `times` times.
ADAPTER = """
import os, pathlib, signal, subprocess, sys, time
from dcp_conformance.harness import control
from dcp_conformance.harness.backend.record import Backend

HERE = pathlib.Path(__file__).parent
STARTED = []

def start():
    STARTED.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"]))
    return {{"STORE_PID": str(STARTED[-1].pid), "STORE_WORD": "open sesame"}}

def stop():
    STARTED[-1].kill()
    STARTED[-1].wait()

def answers():
    try:
        return pathlib.Path("/proc", os.environ["STORE_PID"], "stat").read_text().split()[2] != "Z"
    except OSError:
        return False

class Writer(control.Writer):
    def write_data(self, plan, planner):
        died = HERE / "died"
        before = int(died.read_text()) if died.exists() else 0
        if before < {times} and "bfloat16" in str(plan):
            died.write_text(str(before + 1))
            os.kill(int(os.environ["STORE_PID"]), signal.SIGKILL)
            while answers():
                time.sleep(0.01)
        if not answers():
            raise ConnectionRefusedError("no answer to 'open sesame'")
        return super().write_data(plan, planner)

def kept(checkpoint_id):
    (HERE / "asked").open("a").write(checkpoint_id)
    return False

backend = Backend(
    name="mortal", writer=Writer, reader=control.Reader, unsupported=control.UNSUPPORTED, start=start, stop=stop,
    {more}
)
"""


def adapter(folder: Path, *, times: int, more: str = "") -> str:
    path = folder / "mortal_adapter.py"
    path.write_text(ADAPTER.format(times=times, more=more))
    return str(path)


@pytest.mark.parametrize(("times", "standing", "more"), ((1, "pass", ""), (9, "untestable", "alive=answers,")))
def test_dead_store_is_started_once_and_then_untestable(tmp_path: Path, times: int, standing: str, more: str) -> None:
    ended = certify(tmp_path, adapter(tmp_path, times=times, more=more), *CASE)
    clause = ended.clause("TYPE-02")
    assert clause["standing"] == standing, ended.text
    [case] = clause["cases"]
    said = " ".join([case["reason"], *case["notes"]])
    assert ("started anew" if times == 1 else "no longer answers") in said
    report = (tmp_path / "dcp-report" / "certificate.json").read_text()
    assert "sesame" not in report + ended.text


def test_what_lies_elsewhere_is_discarded_or_listed(tmp_path: Path) -> None:
    place = "new_checkpoint_id=lambda scratch, name: str(HERE / 'elsewhere' / name), discard=kept,"
    ended = certify(tmp_path, adapter(tmp_path, times=0, more=place), *CASE)
    assert ended.certificate is not None and (tmp_path / "asked").exists(), ended.text
    [left] = ended.certificate["leftovers"]
    assert "elsewhere" in left and "left behind" in left
