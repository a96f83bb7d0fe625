"""Bugs of writers that read more into the id of a checkpoint than its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dcp_conformance.harness import control
from tests.mutants.making import storage

BREAKS = {
    "takes_ids_for_templates": ("API-25",),
}


class _TemplateWriter(control.Writer):
    """Lets an id say where the rank goes, whether or not it means to."""

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        self._root = Path(str(self._root).format(rank=kwargs.get("rank")))
        super().set_up_storage_writer(is_coordinator, *args, **kwargs)


takes_ids_for_templates = storage("takes_ids_for_templates", writer=_TemplateWriter)
