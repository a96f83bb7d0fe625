"""A plain module that writes a format of its own is not held to torch's."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcp_conformance.harness.backend.capabilities import contradiction
from dcp_conformance.harness.backend.probe import contradicted

OWN_FORMAT = """
from dcp_conformance.harness.control import Reader as _R, Writer as _W
class OwnWriter(_W):
    pass
class OwnReader(_R):
    pass
"""
TORCHS_FORMAT = OWN_FORMAT.replace("dcp_conformance.harness.control", "torch.distributed.checkpoint").replace(
    "Reader as _R, Writer as _W", "FileSystemReader as _R, FileSystemWriter as _W"
)
FAILING = OWN_FORMAT.replace("    pass", "    def finish(self, *args): raise OSError('full')", 1)


pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")


def seen(tmp_path: Path, name: str, text: str) -> dict[str, str]:
    (tmp_path / f"{name}.py").write_text(text)
    return contradicted(str(tmp_path / f"{name}.py"), (), str(tmp_path))


def test_format_of_its_own_is_seen_and_named(tmp_path: Path) -> None:
    found = seen(tmp_path, "probe_own_format", OWN_FORMAT)
    assert list(found) == ["torch_format"] and "no pickled metadata in .metadata" in found["torch_format"]
    note = contradiction("mypkg", "torch_format", found["torch_format"])
    assert note.endswith('Say so in mypkg: UNSUPPORTED = {"torch_format": "a format of our own"}')


@pytest.mark.parametrize("said", ("UNSUPPORTED = {}\n", 'UNSUPPORTED = {"torch_format": "ours"}\n'))
def test_what_a_module_says_is_believed(tmp_path: Path, said: str) -> None:
    assert seen(tmp_path, f"probe_said_{len(said)}", OWN_FORMAT + said) == {}


def test_torchs_format_is_claimed_for_who_writes_it(tmp_path: Path) -> None:
    assert seen(tmp_path, "probe_torchs_format", TORCHS_FORMAT) == {}


def test_a_failing_save_shows_nothing(tmp_path: Path) -> None:
    with pytest.raises(BaseException, match="CheckpointException"):  # where it is asked, such an outcome is passed over
        seen(tmp_path, "probe_failing", FAILING)
