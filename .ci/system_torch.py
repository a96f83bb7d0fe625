"""Set-up with the torch that another Python already has (``make TORCH=system``); nothing of it is replaced.

python .ci/system_torch.py folders                   print the package folders of this Python
venv/python .ci/system_torch.py link FILE            let the environment see the folders that FILE lists
venv/python .ci/system_torch.py requirements C DIR   write DIR/requirements.txt and DIR/constraints.txt: what the
                                                     project needs except torch, and the pins of C for what is new
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import sys
import sysconfig
from pathlib import Path


def folders() -> None:
    if importlib.util.find_spec("torch") is None:
        sys.exit(f"TORCH=system: {sys.executable} has no torch. Name a Python that has one: PYTHON=/path/to/python")
    for entry in sys.path:
        if Path(entry).name in ("site-packages", "dist-packages") and Path(entry).is_dir():
            print(entry)


def link(file: str) -> None:
    site = Path(sysconfig.get_path("purelib"))
    # addsitedir also reads the .pth files there, without which editable installs would not be seen.
    lines = [f"import site; site.addsitedir({folder!r})" for folder in Path(file).read_text().splitlines()]
    (site / "system_torch.pth").write_text("\n".join(lines) + "\n")


def requirements(pins: str, target: str) -> None:
    wanted = importlib.metadata.requires("dcp-conformance") or []
    here = {_name(dist.metadata["Name"]) for dist in importlib.metadata.distributions()}
    needed = [line for line in map(_in_development, wanted) if line and _name(line) != "torch"]
    new = [line for line in Path(pins).read_text().splitlines() if line and line[0] != "#" and _name(line) not in here]
    new = [line for line in new if _name(line) != "torch"]
    Path(target, "requirements.txt").write_text("\n".join(needed) + "\n")
    Path(target, "constraints.txt").write_text("\n".join(new) + "\n")


def _in_development(requirement: str) -> str | None:
    """The requirement as of an installation with the extra `dev`; None for one of another extra."""
    extra = re.search(r"""extra == ["'](\w+)["']""", requirement)
    if extra is None:
        return requirement
    return requirement.partition(";")[0].strip() if extra[1] == "dev" else None


def _name(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()  # type: ignore[index]


if __name__ == "__main__":
    {"folders": folders, "link": link, "requirements": requirements}[sys.argv[1]](*sys.argv[2:])  # type: ignore[operator]
