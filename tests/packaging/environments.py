"""A wheel built from this tree, and an environment that holds it beside torch and pytest but nothing of this tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# What a build needs; a copy, because building writes into the tree that it builds from.
SOURCES = ("backends", "fixtures", "harness", "reference_impl", "suites", "src", "tests", "benchmarks", "reports")


def build_wheel(folder: Path) -> Path:
    """Build the wheel from a copy of this tree below ``folder``, without network, and return its path."""
    source = folder / "source"
    source.mkdir()
    for file in ROOT.iterdir():
        if file.is_file() and file.name != ".git":
            shutil.copy(file, source)
        elif file.name in SOURCES:
            shutil.copytree(file, source / file.name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    # An index page of the project; it may not be written yet, and the build insists on it.
    (source / "README.md").touch()
    _done([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps", "--no-index",
           "--wheel-dir", str(folder), str(source)])  # fmt: skip
    return next(folder.glob("*.whl"))


def source_of(wheel: Path) -> Path:
    """Return the copy of the tree that a wheel was built from."""
    return wheel.parent / "source"


class Environment:
    """A virtual environment whose only own package is the wheel."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.bin = folder / "bin"
        _done([sys.executable, "-m", "venv", "--without-pip", str(folder)])
        _done([sys.executable, "-m", "pip", "--python", str(self.bin / "python"), "install", "--quiet", "--no-deps",
               "--no-index", str(wheel)])  # fmt: skip
        packages = next((folder / "lib").glob("python*/site-packages"))
        # torch and pytest are seen through plain paths, so an editable install of this tree among them is not.
        others = [entry for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]
        (packages / "others.pth").write_text("\n".join(others) + "\n")
        script = f"#!{self.bin / 'python'}\nimport sys, pytest\nsys.path.pop(0)\nsys.exit(pytest.main())\n"
        (self.bin / "pytest").write_text(script)
        (self.bin / "pytest").chmod(0o755)

    def run(self, folder: Path, *command: str, **environment: str) -> Run:
        """Run a program of the environment in ``folder`` with a clean environment."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
        done = subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            cwd=folder, env={**kept, **environment}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=240,
        )  # fmt: skip
        return Run(done)


class Run:
    """How a program ended: its exit code and everything it printed."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code = done.returncode
        self.text = done.stdout + done.stderr

    def __repr__(self) -> str:
        return f"exit code {self.code}\n{self.text}"


def _done(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
