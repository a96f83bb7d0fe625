from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dcp_conformance.harness.certificate
from dcp_conformance.harness.certificate.facts import machine

FOLDER = Path(dcp_conformance.harness.certificate.__file__).parent


def test_certificates_need_neither_torch_nor_pytest():
    names = [
        f"dcp_conformance.harness.certificate.{path.stem}" for path in FOLDER.glob("*.py") if path.stem != "__init__"
    ]
    program = f"""
import importlib, sys
for name in {names}:
    importlib.import_module(name)
print([name for name in ("torch", "pytest", "_pytest", "hypothesis", "numpy") if name in sys.modules])
"""
    root = FOLDER.parent
    answer = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_the_machine_is_described():
    facts = machine()
    assert list(facts) == ["platform", "cpus", "memory_bytes", "kernel"]
    assert facts["cpus"] >= 1
    assert facts["platform"] and facts["kernel"]
