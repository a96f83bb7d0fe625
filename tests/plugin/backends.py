"""Small backends for end-to-end tests: each shows one thing."""

from __future__ import annotations

import os
import time
from typing import Any

import torch

from dcp_conformance.harness import control

UNSUPPORTED = control.UNSUPPORTED
DEFAULT_PAIR = ("Sound", "Reader")
Reader = control.Reader


class Sound(control.Writer):
    """Keeps every promise of a storage."""


class Lossy(control.Writer):
    """Forgets the last item of every plan with more than one."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        import dataclasses

        return super().write_data(
            dataclasses.replace(plan, items=plan.items[:-1] if len(plan.items) > 1 else plan.items), planner
        )


class Falsy(control.Writer):
    """Lawful, but empty in the eyes of `if writer:`, which makes torch's engine choose another one."""

    def __len__(self) -> int:
        return 0


class Crashing(control.Writer):
    """Takes the process down, as a native library may."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        os.abort()


class Hanging(control.Writer):
    """Never comes back."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        while True:
            time.sleep(60)


class Hiding(control.Reader):
    """Says that every tensor is stored in half precision, so that no engine can see what a load would lose."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
        metadata = super().read_metadata(*args, **kwargs)
        for entry in metadata.state_dict_metadata.values():
            if hasattr(entry, "properties"):
                entry.properties.dtype = torch.float16
        return metadata
