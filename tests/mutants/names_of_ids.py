"""Bugs of writers that make other names from the id of a checkpoint, and meet those of somebody else."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from dcp_conformance.harness import control
from tests.mutants.making import storage

BREAKS = {
    "works_in_a_folder_beside": ("FIN-14",),
    "removes_all_folders_but_its_own": ("FIN-14",),
    "takes_ids_for_templates": ("API-25",),
}


class _BesideWriter(control.Writer):
    """Writes into a folder beside the checkpoint, of its name with an ending, moves the data and removes the folder."""

    def write_data(self, plan: Any, planner: Any) -> Any:
        final, self._root = self._root, self._beside()
        try:
            done = super().write_data(plan, planner)
        finally:
            self._root = final
        for result in done.wait():
            place = final / result.storage_data
            place.parent.mkdir(parents=True, exist_ok=True)
            (self._beside() / result.storage_data).replace(place)
        return done

    def finish(self, metadata: Any, results: Any) -> None:
        super().finish(metadata, results)
        shutil.rmtree(self._beside(), ignore_errors=True)

    def _beside(self) -> Path:
        return self._root.with_name(f"{self._root.name}.tmp")


class _SweepingWriter(control.Writer):
    """Clears the folder of a checkpoint of whatever it does not know."""

    def finish(self, metadata: Any, results: Any) -> None:
        super().finish(metadata, results)
        for path in self._root.iterdir():
            if path.is_dir() and path.name != "data":
                shutil.rmtree(path)


class _TemplateWriter(control.Writer):
    """Lets an id say where the rank goes, whether or not it means to."""

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        self._root = Path(str(self._root).format(rank=kwargs.get("rank")))
        super().set_up_storage_writer(is_coordinator, *args, **kwargs)


works_in_a_folder_beside = storage("works_in_a_folder_beside", writer=_BesideWriter)
removes_all_folders_but_its_own = storage("removes_all_folders_but_its_own", writer=_SweepingWriter)
takes_ids_for_templates = storage("takes_ids_for_templates", writer=_TemplateWriter)
